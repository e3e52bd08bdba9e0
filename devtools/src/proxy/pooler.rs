//! As much of PostgreSQL's start-up protocol as a pooler needs that has no
//! room (the manual's chapter "Frontend/Backend Protocol").

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Requests that come before the start-up message: may we talk in TLS, or GSSAPI?
const ENCRYPTION: [u32; 2] = [80_877_103, 80_877_104];

/// No start-up message of ours is longer.
const LONGEST: u32 = 10_000;

/// How long a client may take to say who it is.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a client hears instead of a welcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    code: &'static str,
    message: &'static str,
}

impl Refusal {
    /// As a session pooler says it whose pool is used up.
    pub const POOL: Self = Self {
        code: "XX000",
        message: "MaxClientsInSessionMode: max clients reached - in Session mode max clients \
                  are limited to pool_size",
    };

    /// As PostgreSQL itself says it.
    pub const SERVER: Self = Self { code: "53300", message: "sorry, too many clients already" };

    /// Hears the client out and refuses it.
    ///
    /// # Errors
    /// The client went, or does not speak the protocol.
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
