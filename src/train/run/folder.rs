//! A run's folder: what lies where, and how it gets there whole.

use super::record::Record;
use super::settings::Config;
use crate::error::Error;
use crate::train::checkpoint::cannot_write;
use rectify_runtime::weights::write_durably;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

pub(super) struct Folder {
    path: PathBuf,
    metrics: File,
}

const CONFIG: &str = "config.json";
const METRICS: &str = "metrics.jsonl";
const CHECKPOINT: &str = "checkpoint.safetensors";
const BEST: &str = "best.safetensors";
const LAST: &str = "last.safetensors";
const REPORT: &str = "report.html";
/// Files of a run that people did not write are read up to this size.
const MAX_BYTES: u64 = 1 << 30;

impl Folder {
    /// A folder for a new run.
    pub fn create(path: &Path, config: &Config) -> Result<Folder, Error> {
        if path.join(CONFIG).exists() {
            return Err(Error::Option {
                message: format!("there is a run in {} already", path.display()),
                help: Some("go on with it by --resume, or name another folder".into()),
            });
        }
        std::fs::create_dir_all(path).map_err(|e| cannot_write(path, &e))?;
        let text = serde_json::to_string_pretty(config).map_err(|e| Error::internal("run folder", e))?;
        write_durably(&path.join(CONFIG), text.as_bytes()).map_err(|e| cannot_write(path, &e))?;
        Folder::open(path)
    }

    /// The folder of a run with these options.
    pub fn existing(path: &Path, config: &Config) -> Result<Folder, Error> {
        let file = path.join(CONFIG);
        let bytes = read(&file).map_err(|error| match error {
            Error::Read { .. } => Error::Option {
                message: format!("there is no run to resume in {}", path.display()),
                help: Some("leave --resume out to begin one".into()),
            },
            other => other,
        })?;
        let before: Config = serde_json::from_slice(&bytes).map_err(|e| Error::Format {
            name: file.display().to_string(),
            message: format!("no configuration of a run: {e}"),
        })?;
        let differences = before.differences(config);
        if !differences.is_empty() {
            return Err(Error::Option {
                message: format!(
                    "the run in {} was begun with other options: {}",
                    path.display(),
                    differences.join("; ")
                ),
                help: Some("resume with the same options, or begin another run in another folder".into()),
            });
        }
        Folder::open(path)
    }

    fn open(path: &Path) -> Result<Folder, Error> {
        let file = path.join(METRICS);
        let metrics = OpenOptions::new().create(true).read(true).append(true).open(&file);
        Ok(Folder { path: path.to_owned(), metrics: metrics.map_err(|e| cannot_write(&file, &e))? })
    }

    pub fn checkpoint(&self) -> PathBuf {
        self.path.join(CHECKPOINT)
    }

    pub fn best(&self) -> PathBuf {
        self.path.join(BEST)
    }

    pub fn last(&self) -> PathBuf {
        self.path.join(LAST)
    }

    pub fn report(&self) -> PathBuf {
        self.path.join(REPORT)
    }

    /// Forgets the lines after the first `bytes`: steps after the last checkpoint, which are taken again.
    pub fn cut_metrics(&mut self, bytes: u64) -> Result<(), Error> {
        let file = self.path.join(METRICS);
        let fail = |e: std::io::Error| cannot_write(&file, &e);
        let length = self.metrics.metadata().map_err(fail)?.len();
        if length < bytes {
            let message = format!("has {length} bytes, but the checkpoint was written after {bytes}");
            return Err(Error::Format { name: file.display().to_string(), message });
        }
        self.metrics.set_len(bytes).map_err(fail)
    }

    pub fn record(&mut self, record: &Record) -> Result<(), Error> {
        let mut line = serde_json::to_string(record).map_err(|e| Error::internal("metrics", e))?;
        line.push('\n');
        // One call, so that a line is there as a whole or not at all if the process ends.
        self.metrics.write_all(line.as_bytes()).map_err(|e| cannot_write(&self.path.join(METRICS), &e))
    }

    /// Brings all lines to the disk; their bytes.
    pub fn sync_metrics(&mut self) -> Result<u64, Error> {
        let done = self.metrics.sync_data().and_then(|()| self.metrics.seek(SeekFrom::End(0)));
        done.map_err(|e| cannot_write(&self.path.join(METRICS), &e))
    }

    pub fn records(&self) -> Result<Vec<Record>, Error> {
        records(&self.path)
    }

    pub fn write_report(&self, text: &str) -> Result<(), Error> {
        let path = self.report();
        write_durably(&path, text.as_bytes()).map_err(|e| cannot_write(&path, &e))
    }
}

/// The lines of a run's metrics.
pub fn records(folder: &Path) -> Result<Vec<Record>, Error> {
    let file = folder.join(METRICS);
    let bytes = read(&file)?;
    let mut records = Vec::new();
    for (i, line) in bytes.split(|b| *b == b'\n').enumerate().filter(|(_, line)| !line.is_empty()) {
        let record = serde_json::from_slice(line).map_err(|e| Error::Format {
            name: file.display().to_string(),
            message: format!("line {} is no record of a run: {e}", i + 1),
        })?;
        records.push(record);
    }
    Ok(records)
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let fail =
        |e: std::io::Error| Error::Read { path: path.to_owned(), message: crate::data::io_message(&e) };
    let file = File::open(path).map_err(fail)?;
    if file.metadata().map_err(fail)?.len() > MAX_BYTES {
        let message = format!("has more than {MAX_BYTES} bytes");
        return Err(Error::Format { name: path.display().to_string(), message });
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(fail)?;
    Ok(bytes)
}
