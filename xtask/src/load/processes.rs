//! How much memory and how many descriptors the processes of a stack have,
//! served under the names that Prometheus' client libraries give them: the
//! scripts can read nothing but HTTP.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

/// How long a client may take to send its request.
const PATIENCE: Duration = Duration::from_secs(5);

/// The page; it is served until this program ends.
pub(super) struct Processes {
    pub(super) url: String,
}

impl Processes {
    /// Serves the processes with these names and ids; none where the system
    /// tells nothing of them (no `/proc`).
    ///
    /// # Errors
    /// There is no port.
    pub(super) fn serve(members: Vec<(String, u32)>) -> io::Result<Option<Self>> {
        if page(&members).is_empty() {
            return Ok(None);
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let url = format!("http://{}/metrics", listener.local_addr()?);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A client that went away wants no answer.
                let _ = answer(&client, &page(&members));
            }
        });
        Ok(Some(Self { url }))
    }
}

fn answer(mut client: &TcpStream, page: &str) -> io::Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    for line in BufReader::new(client).lines() {
        if line?.is_empty() {
            break;
        }
    }
    let length = page.len();
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/plain; version=0.0.4";
    client.write_all(format!("{head}\r\ncontent-length: {length}\r\n\r\n{page}").as_bytes())
}

/// In Prometheus' text format. A process that has ended is left out.
fn page(members: &[(String, u32)]) -> String {
    let mut page = String::new();
    for (name, pid) in members {
        if let (Some(memory), Some(descriptors)) = (resident_bytes(*pid), open_descriptors(*pid)) {
            let _ = writeln!(page, "process_resident_memory_bytes{{process=\"{name}\"}} {memory}");
            let _ = writeln!(page, "process_open_fds{{process=\"{name}\"}} {descriptors}");
        }
    }
    page
}

/// `VmRSS` of proc(5), in kilobytes there.
fn resident_bytes(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

fn open_descriptors(pid: u32) -> Option<usize> {
    Some(std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count())
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_is_served_with_what_it_holds_at_the_moment() {
        let members = vec![("this".to_owned(), std::process::id()), ("gone".to_owned(), 0)];
        let url = Processes::serve(members).unwrap().unwrap().url;
        let read = || ureq::get(&url).call().unwrap().body_mut().read_to_string().unwrap();
        let descriptors = |page: &str| -> usize {
            let line = page.lines().find(|line| line.starts_with("process_open_fds")).unwrap();
            line.strip_prefix("process_open_fds{process=\"this\"} ").unwrap().parse().unwrap()
        };
        let before = read();
        let _held: Vec<_> = (0..50).map(|_| File::open("/dev/null").unwrap()).collect();
        // Other tests of this process open and close files meanwhile.
        assert!(descriptors(&read()) >= descriptors(&before) + 25);
        assert!(before.contains("process_resident_memory_bytes{process=\"this\"} "), "{before}");
        assert!(!before.contains("gone"), "{before}");
    }
}
