//! Makes a backup's lines.

use std::io::{self, Write};

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{Counts, End, FORMAT, Header, Table, VERSION};

/// Writes a backup, line by line. Without [`Writer::finish`] it is not whole.
pub(in crate::gateway::store) struct Writer<'a> {
    out: &'a mut dyn Write,
    hash: Sha256,
    counts: Counts,
}

impl<'a> Writer<'a> {
    /// Begins with the first line.
    pub(in crate::gateway::store) fn begin(
        out: &'a mut dyn Write,
        schema: u64,
        now: Timestamp,
    ) -> io::Result<Self> {
        let mut writer = Self {
            out,
            hash: Sha256::new(),
            counts: Counts::default(),
        };
        let header = Header {
            format: FORMAT.to_owned(),
            version: VERSION,
            schema,
            created_at: now,
            program: env!("CARGO_PKG_VERSION").to_owned(),
        };
        writer.put(&line(&header)?)?;
        Ok(writer)
    }

    /// Adds a record, which is JSON without a line end.
    pub(in crate::gateway::store) fn record(
        &mut self,
        table: Table,
        key: &str,
        json: &[u8],
    ) -> io::Result<()> {
        let key = serde_json::to_string(key)?;
        let name = table.as_str();
        self.put(format!(r#"{{"table":"{name}","key":{key},"value":"#).as_bytes())?;
        self.put(json)?;
        self.put(b"}\n")?;
        *self.counts.of(table) += 1;
        Ok(())
    }

    /// Ends with the last line.
    pub(in crate::gateway::store) fn finish(self) -> io::Result<Counts> {
        let end = End {
            records: self.counts.total(),
            sha256: HEXLOWER.encode(&self.hash.finalize()),
        };
        self.out.write_all(&line(&end)?)?;
        self.out.flush()?;
        Ok(self.counts)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.out.write_all(bytes)
    }
}

fn line(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}
