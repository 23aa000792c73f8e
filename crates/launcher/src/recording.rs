//! Opening a recorded session: a gzip file with one frame a line. What is in the lines is `marketdata`'s business.

use crate::error::LaunchError;
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

const BUFFER_BYTES: usize = 256 * 1024;
const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Opens a recording, or says why it is none.
pub fn open(path: &Path) -> Result<Box<dyn BufRead + Send>, LaunchError> {
    let refuse = |cause: &str, remedy: &str| LaunchError::Recording {
        path: path.to_path_buf(),
        cause: cause.into(),
        remedy: remedy.into(),
    };
    let mut file = File::open(path).map_err(|error| refuse(&error.to_string(), "check path and permissions"))?;
    if file.metadata().is_ok_and(|meta| !meta.is_file()) {
        return Err(refuse("it is not a regular file", "name a recording"));
    }
    let mut magic = [0u8; 2];
    let read = file.read(&mut magic).map_err(|error| refuse(&error.to_string(), "check the disk"))?;
    if read == 0 {
        return Err(refuse("it is empty", "record or fetch it again"));
    }
    if read < 2 || magic != MAGIC {
        return Err(refuse("it is not gzip", "compress it: gzip FILE"));
    }
    let whole = File::open(path).map_err(|error| refuse(&error.to_string(), "check path and permissions"))?;
    Ok(Box::new(BufReader::with_capacity(
        BUFFER_BYTES,
        MultiGzDecoder::new(BufReader::with_capacity(BUFFER_BYTES, whole)),
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn what_is_no_recording_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        for (path, wanted) in [
            (dir.path().join("none"), "No such file"),
            (write("empty", b""), "it is empty; record or fetch it again"),
            (write("short", b"\x1f"), "it is not gzip"),
            (write("text", b"1 {}\n"), "it is not gzip; compress it"),
            (dir.path().to_owned(), "not a regular file"),
        ] {
            let message = open(&path).err().unwrap().to_string();
            assert!(message.contains(wanted), "{message}");
        }
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(b"1 {}\n2 {}\n").unwrap();
        let good = write("good", &gzip.finish().unwrap());
        let mut text = String::new();
        open(&good).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "1 {}\n2 {}\n");
    }
}
