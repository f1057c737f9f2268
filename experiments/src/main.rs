//! Trains what `docs/experiments.md` describes and writes its tables and charts. Interrupted, it goes on where it was.

use clap::{Parser, ValueEnum};
use rectify::Error;
use rectify::data::sets::Spec;
use rectify_experiments::cell::Bench;
use rectify_experiments::comparison::compare;
use rectify_experiments::network::Depth;
use rectify_experiments::study::{self, Effort};
use rectify_experiments::{foretell, report};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

#[derive(Parser)]
#[command(about = "The claims of He et al. 2015, tested on small data sets")]
struct Args {
    /// Which claim: deep plain networks by initialisation, or rectifiers and their slopes
    study: Which,
    /// The data set, as in docs/data.md
    #[arg(long)]
    data: String,
    /// Where runs, tables and charts go
    #[arg(long, default_value = "runs/experiments")]
    out: PathBuf,
    /// Fewer seeds and shorter runs
    #[arg(long)]
    quick: bool,
    /// Seeds of the comparison, the first so many; all that the study has by default
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: Option<u64>,
    /// Threads; all cores by default
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

#[derive(Clone, Copy, ValueEnum)]
enum Which {
    /// (a) 22 and 30 layers: he, lecun, glorot, torch_default
    Depth,
    /// (b) ReLU, leaky, PReLU shared and channel-wise; (c) learned slopes by depth
    Rectifiers,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            if let Some(help) = error.help() {
                eprintln!("help: {help}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Error> {
    let effort = if args.quick { Effort::Quick } else { Effort::Full };
    let folder = args.out.join(if args.quick { "quick" } else { "full" });
    let threads = match args.threads {
        0 => std::thread::available_parallelism().map_or(1, |n| n.get()),
        n => n,
    };
    let spec = Spec::parse(&args.data)?;
    let bench = Bench { spec: &spec, folder: &folder, threads };
    let begun = Instant::now();
    let mut tell = |what: &str| eprintln!("{:7.0} s  {what}", begun.elapsed().as_secs_f64());
    let mut studies = match args.study {
        Which::Depth => Depth::ALL.map(|d| study::depth(d, effort)).to_vec(),
        Which::Rectifiers => vec![study::rectifiers(effort)],
    };
    if let Some(count) = args.seeds {
        for study in &mut studies {
            let few = study.seeds.start.saturating_add(count).min(study.seeds.end);
            study.seeds.end = few;
        }
    }
    for study in studies {
        let foretold = foretell::foretell(&study, &spec)?;
        let found = compare(&study, &bench, &mut tell)?;
        let mut files = report::outcomes(&study, &found);
        if let Some((_, text)) = files.first_mut() {
            text.push('\n');
            text.push_str(&foretold);
        }
        if matches!(args.study, Which::Rectifiers) {
            files.extend(report::slopes(&found));
        }
        for (name, content) in files {
            write(&folder.join(name), &content)?;
        }
    }
    Ok(())
}

fn write(path: &Path, content: &str) -> Result<(), Error> {
    let failed = |e: std::io::Error| Error::Read { path: path.into(), message: e.to_string() };
    std::fs::write(path, content).map_err(failed)?;
    println!("wrote {}", path.display());
    Ok(())
}
