//! The part of PostgreSQL's start-up protocol that a full pooler needs to
//! refuse a client (the manual's chapter "Frontend/Backend Protocol").

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Requests that precede the start-up message: may the connection use TLS, or GSSAPI?
const ENCRYPTION: [u32; 2] = [80_877_103, 80_877_104];

/// No start-up message of ours is longer.
const LONGEST: u32 = 10_000;

/// How long a client may take to send its start-up message.
const PATIENCE: Duration = Duration::from_secs(5);

/// The error a client gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    code: &'static str,
    message: &'static str,
}

impl Refusal {
    /// The words of a session pooler with no free server connection.
    pub const POOL: Self = Self {
        code: "XX000",
        message: "MaxClientsInSessionMode: max clients reached - in Session mode max clients \
                  are limited to pool_size",
    };

    /// PostgreSQL's own words.
    pub const SERVER: Self = Self { code: "53300", message: "sorry, too many clients already" };

    /// Reads the client's start-up message and refuses it.
    ///
    /// # Errors
    /// The client has gone, or does not speak the protocol.
    pub(super) fn tell(self, client: &mut TcpStream) -> io::Result<()> {
        client.set_read_timeout(Some(PATIENCE))?;
        loop {
            let length = number(client)?;
            let code = number(client)?;
            let rest = length.saturating_sub(8).min(LONGEST);
            io::copy(&mut (&*client).take(u64::from(rest)), &mut io::sink())?;
            if !ENCRYPTION.contains(&code) {
                break;
            }
            client.write_all(b"N")?;
        }
        client.write_all(&self.message())
    }

    fn message(self) -> Vec<u8> {
        let mut fields = Vec::new();
        for (field, text) in
            [(b'S', "FATAL"), (b'V', "FATAL"), (b'C', self.code), (b'M', self.message)]
        {
            fields.push(field);
            fields.extend(text.as_bytes());
            fields.push(0);
        }
        fields.push(0);
        let length = u32::try_from(fields.len() + 4).unwrap_or_default();
        let mut message = vec![b'E'];
        message.extend(length.to_be_bytes());
        message.append(&mut fields);
        message
    }
}

fn number(client: &mut TcpStream) -> io::Result<u32> {
    let mut bytes = [0; 4];
    client.read_exact(&mut bytes)?;
    Ok(u32::from_be_bytes(bytes))
}
