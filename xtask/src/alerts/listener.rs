//! A small HTTP server on the loopback address, used as Alertmanager's receiver
//! and as Stripe's API.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

/// How long a client may take to send its request.
const PATIENCE: Duration = Duration::from_secs(5);

/// Larger than any request here.
const LARGEST: u64 = 4 * 1024 * 1024;

/// Answers requests until this program ends; returns the URL. `answer` gets the path and
/// the body, and returns a status and JSON.
///
/// # Errors
/// There is no free port.
pub(super) fn serve(
    answer: impl Fn(&str, &str) -> (u16, String) + Send + Sync + 'static,
) -> io::Result<String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let url = format!("http://{}", listener.local_addr()?);
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // Fails only if the client has gone.
            let _ = exchange(&client, &answer);
        }
    });
    Ok(url)
}

fn exchange(
    mut client: &TcpStream,
    answer: impl Fn(&str, &str) -> (u16, String),
) -> io::Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    let mut input = BufReader::new(client);
    let mut line = String::new();
    input.read_line(&mut line)?;
    let path = line.split_whitespace().nth(1).unwrap_or_default().to_owned();
    let mut length = 0;
    loop {
        line.clear();
        if input.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = String::new();
    input.take(LARGEST.min(length)).read_to_string(&mut body)?;
    let (status, text) = answer(&path, &body);
    write!(
        client,
        "HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{text}",
        text.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_answered_by_its_path_and_body() {
        let url = serve(|path, body| (200, format!("{path} {body}"))).unwrap();
        let agent: ureq::Agent = ureq::Agent::config_builder().proxy(None).build().into();
        let mut answer = agent.post(format!("{url}/a?b=1")).send("{\"c\":2}").unwrap();
        assert_eq!(answer.body_mut().read_to_string().unwrap(), "/a?b=1 {\"c\":2}");
        assert_eq!(agent.get(&url).call().unwrap().body_mut().read_to_string().unwrap(), "/ ");
    }
}
