//! Gzip files (RFC 1952), unpacked in memory up to a limit.

use super::{FormatError, zip::crc32};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

const MAGIC: &[u8] = &[0x1f, 0x8b];
const HEADER_BYTES: usize = 10;
const TRAILER_BYTES: usize = 8;
const FLAG_HEADER_CRC: u8 = 2;
const FLAG_EXTRA: u8 = 4;
const FLAG_NAME: u8 = 8;
const FLAG_COMMENT: u8 = 16;
const FLAGS_RESERVED: u8 = 0xe0;
/// The least that the buffer grows to.
const FIRST_BYTES: usize = 1 << 16;
/// Deflate makes at most this many bytes of one: no file can hold more than its length times this.
pub const MAX_RATIO: usize = 1032;

/// Whether these bytes begin as a gzip file does.
pub fn is_gzip(file: &[u8]) -> bool {
    file.starts_with(MAGIC)
}

/// The first `most` bytes of the content, or all of it if it is shorter.
pub fn head(file: &[u8], most: usize) -> Result<Vec<u8>, FormatError> {
    Ok(unpack(file, most)?.0)
}

/// The content, which may have `limit` bytes at most; its checksum has been compared.
pub fn read(file: &[u8], limit: usize) -> Result<Vec<u8>, FormatError> {
    match unpack(file, limit)? {
        (content, true) => Ok(content),
        (_, false) => Err(FormatError::new(file.len(), format!("unpacks to more than {limit} bytes"))),
    }
}

/// At most `most` bytes, and whether that is everything. A gzip file is one member after another.
fn unpack(file: &[u8], most: usize) -> Result<(Vec<u8>, bool), FormatError> {
    let (mut content, mut at) = (Vec::new(), 0);
    loop {
        let packed = header(file, at)?;
        let start = content.len();
        let Some(end) = inflate(file, packed, most, &mut content)? else { return Ok((content, false)) };
        let trailer = file.get(end..end + TRAILER_BYTES).ok_or_else(|| cut(file))?;
        let (crc, length) = trailer.split_at(4);
        let unpacked = &content[start..];
        if crc != crc32(unpacked).to_le_bytes() || length != (unpacked.len() as u32).to_le_bytes() {
            return Err(FormatError::new(end, "the gzip stream is damaged: its checksum differs"));
        }
        at = end + TRAILER_BYTES;
        if at == file.len() {
            return Ok((content, true));
        }
    }
}

fn cut(file: &[u8]) -> FormatError {
    FormatError::new(file.len(), "the file ends within the gzip stream")
}

/// Where the deflated bytes of the member at `at` begin.
fn header(file: &[u8], at: usize) -> Result<usize, FormatError> {
    if !file[at..].starts_with(MAGIC) {
        return Err(FormatError::new(at, "no gzip stream begins here"));
    }
    let fixed = file.get(at..at + HEADER_BYTES).ok_or_else(|| cut(file))?;
    let (method, flags) = (fixed[2], fixed[3]);
    if method != 8 || flags & FLAGS_RESERVED != 0 {
        let message = format!("gzip method {method} with flags {flags:#04x} is not known; deflate is 8");
        return Err(FormatError::new(at + 2, message));
    }
    let mut at = at + HEADER_BYTES;
    if flags & FLAG_EXTRA != 0 {
        let length = file.get(at..at + 2).ok_or_else(|| cut(file))?;
        at += 2 + usize::from(u16::from_le_bytes([length[0], length[1]]));
    }
    for flag in [FLAG_NAME, FLAG_COMMENT] {
        if flags & flag != 0 {
            let text = file.get(at..).ok_or_else(|| cut(file))?;
            at += 1 + text.iter().position(|&b| b == 0).ok_or_else(|| cut(file))?;
        }
    }
    if flags & FLAG_HEADER_CRC != 0 {
        at += 2;
    }
    if at > file.len() { Err(cut(file)) } else { Ok(at) }
}

/// Appends the deflated bytes at `from` to `content` and tells where they end; None if `content` would exceed `most`.
fn inflate(
    file: &[u8],
    from: usize,
    most: usize,
    content: &mut Vec<u8>,
) -> Result<Option<usize>, FormatError> {
    let mut state = Box::<DecompressorOxide>::default();
    let (start, mut at) = (content.len(), from);
    let mut filled = 0;
    loop {
        let room = (2 * content.len()).max(FIRST_BYTES).min(most);
        content.resize(room.max(content.len()), 0);
        let flags = TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
        let (status, read, written) =
            decompress(&mut state, &file[at..], &mut content[start..], filled, flags);
        at += read;
        filled += written;
        match status {
            TINFLStatus::Done => {
                content.truncate(start + filled);
                return Ok(Some(at));
            }
            TINFLStatus::HasMoreOutput if content.len() < most => {}
            TINFLStatus::HasMoreOutput => return Ok(None),
            TINFLStatus::FailedCannotMakeProgress | TINFLStatus::NeedsMoreInput => return Err(cut(file)),
            _ => return Err(FormatError::new(at, "the gzip stream is damaged")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use miniz_oxide::deflate::compress_to_vec;

    fn pack(content: &[u8], flags: u8, fields: &[u8]) -> Vec<u8> {
        let mut file = vec![0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 255];
        file.extend(fields);
        file.extend(compress_to_vec(content, 6));
        file.extend(crc32(content).to_le_bytes());
        file.extend((content.len() as u32).to_le_bytes());
        file
    }

    fn check(file: &[u8], limit: usize, want: &str) {
        assert_eq!(read(file, limit).unwrap_err().to_string(), want);
    }

    #[test]
    fn members_with_every_field_unpack() {
        let content: Vec<u8> = (0..300_000u64).map(|i| (i * i / 700) as u8).collect();
        let fields = [&[3, 0, 1, 2, 3][..], b"name\0", b"comment\0", &[7, 7]].concat();
        let file = pack(&content, 2 | 4 | 8 | 16, &fields);
        assert!(is_gzip(&file) && read(&file, content.len()).unwrap() == content);
        assert_eq!(head(&file, 16).unwrap(), content[..16]);
        let two = [file, pack(b"more", 0, &[])].concat();
        assert_eq!(read(&two, usize::MAX).unwrap(), [&content[..], b"more"].concat());
        assert_eq!(read(&pack(b"", 0, &[]), 0).unwrap(), b"");
    }

    #[test]
    fn damage_is_named() {
        let file = pack(&[5; 5000], 0, &[]);
        check(&file, 4999, &format!("unpacks to more than 4999 bytes (at byte {})", file.len()));
        for length in [3, 12, 20, file.len() - 9, file.len() - 1] {
            let want = format!("the file ends within the gzip stream (at byte {length})");
            check(&file[..length], usize::MAX, &want);
        }
        let mut wrong = file.clone();
        *wrong.last_mut().unwrap() ^= 1;
        let want = format!("the gzip stream is damaged: its checksum differs (at byte {})", file.len() - 8);
        check(&wrong, usize::MAX, &want);
        let longer = [&file[..], b"rest"].concat();
        check(&longer, usize::MAX, &format!("no gzip stream begins here (at byte {})", file.len()));
        check(
            &[0x1f, 0x8b, 7, 0, 0, 0, 0, 0, 0, 0],
            9,
            "gzip method 7 with flags 0x00 is not known; deflate is 8 (at byte 2)",
        );
        check(&pack(b"", 4, &[255, 255]), 9, "the file ends within the gzip stream (at byte 22)");
    }
}
