//! As much of the zip format as .npz files need: stored and deflated members, with 64-bit sizes; writing is stored.

use super::FormatError;
use miniz_oxide::inflate::{DecompressError, TINFLStatus, decompress_to_vec_with_limit};
use std::borrow::Cow;
use std::io::{self, Write};
use std::ops::Range;

/// An archive in memory.
pub struct Archive<'a> {
    file: &'a [u8],
    members: Vec<Member>,
}

/// One file of an archive.
#[derive(Clone, Debug)]
pub struct Member {
    pub name: String,
    /// Size when unpacked, as the archive says.
    pub bytes: usize,
    packed_bytes: usize,
    deflated: bool,
    crc: u32,
    /// Offset of the local header.
    at: usize,
}

/// More members than any weights file has.
const MAX_MEMBERS: usize = 1_000_000;
const END: &[u8] = b"PK\x05\x06";
const END64_LOCATOR: &[u8] = b"PK\x06\x07";
const END64: &[u8] = b"PK\x06\x06";
const CENTRAL: &[u8] = b"PK\x01\x02";
const LOCAL: &[u8] = b"PK\x03\x04";
const ZIP64_EXTRA: u16 = 1;

impl<'a> Archive<'a> {
    /// Reads the directory at the end of the file.
    pub fn open(file: &'a [u8]) -> Result<Archive<'a>, FormatError> {
        // The end record is the last thing but for a comment of at most 64 KiB.
        let from = file.len().saturating_sub(22 + 0xffff);
        let end = file[from..].windows(END.len()).rposition(|w| w == END).map(|i| from + i);
        let end = end.ok_or_else(|| FormatError::new(file.len(), "not a zip file: it has no directory"))?;
        let record = Fields { file, at: end };
        record.bytes(22, usize::from(record.u16(20)?))?;
        let (mut count, mut start) = (u64::from(record.u16(10)?), u64::from(record.u32(16)?));
        if (count == 0xffff || start == 0xffff_ffff)
            && let Some(locator) = end.checked_sub(20)
            && file[locator..].starts_with(END64_LOCATOR)
        {
            let at = offset(Fields { file, at: locator }.u64(8)?, file, locator)?;
            if !file[at..].starts_with(END64) {
                return Err(FormatError::new(at, "the 64-bit directory of the zip file is damaged"));
            }
            let record = Fields { file, at };
            (count, start) = (record.u64(32)?, record.u64(48)?);
        }
        let mut at = offset(start, file, end)?;
        let mut members = Vec::new();
        for _ in 0..count {
            if members.len() == MAX_MEMBERS {
                return Err(FormatError::new(at, format!("more than {MAX_MEMBERS} members")));
            }
            let (member, next) = central(file, at)?;
            members.push(member);
            at = next;
        }
        Ok(Archive { file, members })
    }

    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The member of this name.
    pub fn find(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|m| m.name == name)
    }

    /// The bytes of a member; borrowed if it is stored. Unpacks at most `limit` bytes.
    pub fn read(&self, member: &Member, limit: usize) -> Result<Cow<'a, [u8]>, FormatError> {
        member.read(self.file, limit)
    }
}

impl Member {
    /// Whether its bytes stand in the archive as they are.
    pub fn is_stored(&self) -> bool {
        !self.deflated
    }

    /// Where the (perhaps packed) bytes are in the archive.
    pub fn range(&self, file: &[u8]) -> Result<Range<usize>, FormatError> {
        let local = Fields { file, at: self.at };
        if !file[self.at..].starts_with(LOCAL) {
            let message = format!("member `{}` is not where the directory says", self.name);
            return Err(FormatError::new(self.at, message));
        }
        let data = self.at + 30 + usize::from(local.u16(26)?) + usize::from(local.u16(28)?);
        let end = data.checked_add(self.packed_bytes).filter(|&end| end <= file.len());
        let end = end.ok_or_else(|| {
            FormatError::new(file.len(), format!("the file ends within member `{}`", self.name))
        })?;
        Ok(data..end)
    }

    /// Its first `most` bytes at most, without a look at the checksum.
    pub fn head<'a>(&self, file: &'a [u8], most: usize) -> Result<Cow<'a, [u8]>, FormatError> {
        let range = self.range(file)?;
        let packed = &file[range.clone()];
        if !self.deflated {
            return Ok(Cow::Borrowed(&packed[..packed.len().min(most)]));
        }
        match decompress_to_vec_with_limit(packed, most) {
            Ok(bytes) => Ok(Cow::Owned(bytes)),
            Err(error) if error.status == TINFLStatus::HasMoreOutput => Ok(Cow::Owned(error.output)),
            Err(error) => Err(self.does_not_unpack(range.start, &error)),
        }
    }

    /// Its bytes; borrowed if it is stored. Unpacks at most `limit` bytes.
    pub fn read<'a>(&self, file: &'a [u8], limit: usize) -> Result<Cow<'a, [u8]>, FormatError> {
        let range = self.range(file)?;
        let (data, packed) = (range.start, &file[range]);
        if self.bytes > limit {
            let message =
                format!("member `{}` unpacks to {} bytes, {limit} are allowed", self.name, self.bytes);
            return Err(FormatError::new(self.at, message));
        }
        let bytes = if self.deflated {
            let unpacked = decompress_to_vec_with_limit(packed, self.bytes);
            Cow::Owned(unpacked.map_err(|error| self.does_not_unpack(data, &error))?)
        } else {
            Cow::Borrowed(packed)
        };
        if bytes.len() != self.bytes || crc32(&bytes) != self.crc {
            let message = format!("member `{}` is damaged: its checksum differs", self.name);
            return Err(FormatError::new(data, message));
        }
        Ok(bytes)
    }

    fn does_not_unpack(&self, data: usize, error: &DecompressError) -> FormatError {
        FormatError::new(data, format!("member `{}` does not unpack: {error}", self.name))
    }
}

/// One entry of the directory, and where the next begins.
fn central(file: &[u8], at: usize) -> Result<(Member, usize), FormatError> {
    let entry = Fields { file, at };
    if !file.get(at..).is_some_and(|f| f.starts_with(CENTRAL)) {
        return Err(FormatError::new(at, "the directory of the zip file is damaged"));
    }
    let (flags, method, crc) = (entry.u16(8)?, entry.u16(10)?, entry.u32(16)?);
    let [name_len, extra_len, comment_len] =
        [entry.u16(28)?, entry.u16(30)?, entry.u16(32)?].map(usize::from);
    let name = entry.bytes(46, name_len)?;
    let name = String::from_utf8_lossy(name).into_owned();
    if flags & 1 != 0 {
        return Err(FormatError::new(at, format!("member `{name}` is encrypted")));
    }
    if !matches!(method, 0 | 8) {
        let message =
            format!("member `{name}` is packed by method {method}; stored and deflated ones are read");
        return Err(FormatError::new(at, message));
    }
    let mut sizes = [entry.u32(24)?, entry.u32(20)?, entry.u32(42)?].map(u64::from);
    let extra = entry.bytes(46 + name_len, extra_len)?;
    widen(&mut sizes, extra)
        .ok_or_else(|| FormatError::new(at, format!("the sizes of member `{name}` are damaged")))?;
    let [bytes, packed_bytes, local] = sizes;
    let too_large = |_| FormatError::new(at, format!("member `{name}` is larger than memory"));
    let member = Member {
        bytes: bytes.try_into().map_err(too_large)?,
        packed_bytes: packed_bytes.try_into().map_err(too_large)?,
        deflated: method == 8,
        crc,
        at: offset(local, file, at)?,
        name: name.clone(),
    };
    if !member.deflated && member.bytes != member.packed_bytes {
        return Err(FormatError::new(at, format!("the sizes of member `{name}` disagree")));
    }
    Ok((member, at + 46 + name_len + extra_len + comment_len))
}

/// Takes sizes that did not fit 32 bits from the 64-bit extra field, where they stand in this order.
fn widen(sizes: &mut [u64; 3], mut extra: &[u8]) -> Option<()> {
    if sizes.iter().all(|s| *s != 0xffff_ffff) {
        return Some(());
    }
    loop {
        let id = u16::from_le_bytes(extra.get(..2)?.try_into().ok()?);
        let length = usize::from(u16::from_le_bytes(extra.get(2..4)?.try_into().ok()?));
        let mut field = extra.get(4..4 + length)?;
        if id == ZIP64_EXTRA {
            for size in sizes.iter_mut().filter(|s| **s == 0xffff_ffff) {
                *size = u64::from_le_bytes(field.get(..8)?.try_into().ok()?);
                field = &field[8..];
            }
            return Some(());
        }
        extra = &extra[4 + length..];
    }
}

/// An offset that lies inside of the file.
fn offset(value: u64, file: &[u8], from: usize) -> Result<usize, FormatError> {
    let inside = usize::try_from(value).ok().filter(|v| *v < file.len());
    inside.ok_or_else(|| {
        FormatError::new(from, format!("an offset of the zip file, {value}, lies behind its end"))
    })
}

/// Little-endian fields of a record.
struct Fields<'a> {
    file: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    fn bytes(&self, field: usize, length: usize) -> Result<&'a [u8], FormatError> {
        let at = self.at + field;
        let bytes = self.file.get(at..at + length);
        bytes.ok_or_else(|| {
            FormatError::new(self.file.len(), "the file ends within a record of the zip format")
        })
    }

    fn array<const N: usize>(&self, field: usize) -> Result<[u8; N], FormatError> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(field, N)?);
        Ok(array)
    }

    fn u16(&self, field: usize) -> Result<u16, FormatError> {
        self.array(field).map(u16::from_le_bytes)
    }

    fn u32(&self, field: usize) -> Result<u32, FormatError> {
        self.array(field).map(u32::from_le_bytes)
    }

    fn u64(&self, field: usize) -> Result<u64, FormatError> {
        self.array(field).map(u64::from_le_bytes)
    }
}

/// Writes an archive of stored members.
pub struct Writer<W: Write> {
    out: W,
    at: u64,
    directory: Vec<u8>,
    count: u64,
}

impl<W: Write> Writer<W> {
    pub fn new(out: W) -> Writer<W> {
        Writer { out, at: 0, directory: Vec::new(), count: 0 }
    }

    /// Adds a member of these parts, one after another.
    pub fn add(&mut self, name: &str, parts: &[&[u8]]) -> io::Result<()> {
        let bytes: u64 = parts.iter().map(|p| p.len() as u64).sum();
        let crc = !parts.iter().fold(!0, |crc, part| crc_update(crc, part));
        let name_len = u16::try_from(name.len()).map_err(|_| io::Error::other("a name of over 64 KiB"))?;
        // 64-bit sizes always: simpler than two forms, and every reader of .npz files takes them.
        let local: Vec<u8> = [
            LOCAL,
            &[45, 0, 0, 8, 0, 0, 0, 0, 0x21, 0],
            &crc.to_le_bytes(),
            &[0xff; 8],
            &name_len.to_le_bytes(),
            &20u16.to_le_bytes(),
            name.as_bytes(),
            &ZIP64_EXTRA.to_le_bytes(),
            &16u16.to_le_bytes(),
            &bytes.to_le_bytes(),
            &bytes.to_le_bytes(),
        ]
        .concat();
        self.directory.extend(
            [
                CENTRAL,
                &[45, 0, 45, 0, 0, 8, 0, 0, 0, 0, 0x21, 0],
                &crc.to_le_bytes(),
                &[0xff; 8],
                &name_len.to_le_bytes(),
                &28u16.to_le_bytes(),
                &[0; 10],
                &[0xff; 4],
                name.as_bytes(),
                &ZIP64_EXTRA.to_le_bytes(),
                &24u16.to_le_bytes(),
                &bytes.to_le_bytes(),
                &bytes.to_le_bytes(),
                &self.at.to_le_bytes(),
            ]
            .concat(),
        );
        self.out.write_all(&local)?;
        for part in parts {
            self.out.write_all(part)?;
        }
        self.at += local.len() as u64 + bytes;
        self.count += 1;
        Ok(())
    }

    /// Writes the directory.
    pub fn finish(mut self) -> io::Result<()> {
        self.out.write_all(&self.directory)?;
        let end64 = self.at + self.directory.len() as u64;
        let count = self.count.to_le_bytes();
        let record = [
            END64,
            &44u64.to_le_bytes(),
            &[45, 0, 45, 0],
            &[0; 8],
            &count,
            &count,
            &(self.directory.len() as u64).to_le_bytes(),
            &self.at.to_le_bytes(),
            END64_LOCATOR,
            &[0; 4],
            &end64.to_le_bytes(),
            &1u32.to_le_bytes(),
            END,
            &[0; 4],
            &[0xff; 12],
            &[0; 2],
        ]
        .concat();
        self.out.write_all(&record)?;
        self.out.flush()
    }
}

/// The checksum of zip and PNG.
pub fn crc32(bytes: &[u8]) -> u32 {
    !crc_update(!0, bytes)
}

fn crc_update(mut crc: u32, bytes: &[u8]) -> u32 {
    let mut words = bytes.chunks_exact(8);
    for w in &mut words {
        let low = crc ^ u32::from_le_bytes([w[0], w[1], w[2], w[3]]);
        crc = TABLES[7][(low & 255) as usize]
            ^ TABLES[6][(low >> 8 & 255) as usize]
            ^ TABLES[5][(low >> 16 & 255) as usize]
            ^ TABLES[4][(low >> 24) as usize]
            ^ TABLES[3][w[4] as usize]
            ^ TABLES[2][w[5] as usize]
            ^ TABLES[1][w[6] as usize]
            ^ TABLES[0][w[7] as usize];
    }
    words
        .remainder()
        .iter()
        .fold(crc, |crc, b| TABLES[0][((crc ^ u32::from(*b)) & 255) as usize] ^ (crc >> 8))
}

/// `TABLES[k][b]`: the checksum of byte b followed by k zero bytes.
static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut k = 1;
    while k < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[k - 1][byte];
            tables[k][byte] = tables[0][(before & 255) as usize] ^ (before >> 8);
            byte += 1;
        }
        k += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out);
        for (name, bytes) in members {
            let (a, b) = bytes.split_at(bytes.len() / 3);
            writer.add(name, &[a, b]).unwrap();
        }
        writer.finish().unwrap();
        out
    }

    #[test]
    fn round_trip() {
        let long: Vec<u8> = (0..1000u32).flat_map(|i| i.to_le_bytes()).collect();
        let file = archive(&[("a.npy", b"hello"), ("dir/b.npy", &long), ("empty", b"")]);
        let zip = Archive::open(&file).unwrap();
        assert_eq!(zip.members().len(), 3);
        let b = zip.find("dir/b.npy").unwrap();
        assert_eq!(zip.read(b, 4000).unwrap().as_ref(), long);
        assert!(zip.read(b, 3999).unwrap_err().message.contains("3999 are allowed"));
        assert!(zip.find("c").is_none());
    }

    #[test]
    fn checksum_known_answer() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b"The quick brown fox jumps over the lazy dog"), 0x414f_a339);
    }

    #[test]
    fn deflated_members_unpack() {
        let raw = vec![7u8; 5000];
        let packed = miniz_oxide::deflate::compress_to_vec(&raw, 6);
        let mut file = archive(&[("x", &packed)]);
        // Turns the stored member into a deflated one: method, checksum and unpacked size, in both headers.
        let directory = file.windows(4).position(|w| w == CENTRAL).unwrap();
        file[directory + 10] = 8;
        file[directory + 16..directory + 20].copy_from_slice(&crc32(&raw).to_le_bytes());
        let sizes = directory + 46 + 1 + 4;
        file[sizes..sizes + 8].copy_from_slice(&5000u64.to_le_bytes());
        let zip = Archive::open(&file).unwrap();
        assert_eq!(zip.read(&zip.members()[0], 5000).unwrap().as_ref(), raw);
        // A member that unpacks to more than it says stops there.
        file[sizes..sizes + 8].copy_from_slice(&4000u64.to_le_bytes());
        let zip = Archive::open(&file).unwrap();
        assert!(zip.read(&zip.members()[0], 1 << 30).is_err());
    }

    #[test]
    fn every_damage_is_an_error_or_the_truth() {
        let file = archive(&[("a", b"some bytes"), ("b", b"others")]);
        for at in 0..file.len() {
            let mut bad = file.clone();
            bad[at] ^= 0x55;
            if let Ok(zip) = Archive::open(&bad) {
                for member in zip.members() {
                    // A damaged name or date leaves the contents right; anything else must be noticed.
                    if let Ok(bytes) = zip.read(member, 1 << 20) {
                        assert!(matches!(bytes.as_ref(), b"some bytes" | b"others" | b""), "byte {at}");
                    }
                }
            }
            let _ = Archive::open(&file[..at])
                .map(|zip| zip.members().iter().filter(|m| zip.read(m, 1 << 20).is_ok()).count());
        }
    }
}
