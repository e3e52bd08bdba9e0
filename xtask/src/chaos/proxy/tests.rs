//! The proxy between real sockets, and before a real PostgreSQL.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::psql::Psql;

/// How long silence is listened to.
const SILENCE: Duration = Duration::from_millis(200);

/// A server that answers each byte with its own name; returns its port.
fn server(name: u8) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut byte = [0];
                while client.read_exact(&mut byte).is_ok() && client.write_all(&[name]).is_ok() {}
            });
        }
    });
    port
}

fn client(proxy: &Proxy) -> TcpStream {
    TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).unwrap()
}

fn heard(mut client: &TcpStream) -> io::Result<u8> {
    let mut byte = [0];
    client.read_exact(&mut byte)?;
    Ok(byte[0])
}

fn ask(mut client: &TcpStream) -> io::Result<u8> {
    client.write_all(b"?")?;
    heard(client)
}

fn is_silent(client: &TcpStream) -> bool {
    client.set_read_timeout(Some(SILENCE)).unwrap();
    let silent = ask(client).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
    client.set_read_timeout(None).unwrap();
    silent
}

#[test]
fn standing_connections_go_silent_and_go_on_or_are_cut() {
    let proxy = Proxy::to(server(b'a')).unwrap();
    let (one, other) = (client(&proxy), client(&proxy));
    assert_eq!((ask(&one).unwrap(), ask(&other).unwrap()), (b'a', b'a'));
    assert_eq!(proxy.stall(), 2);
    assert!(is_silent(&one));
    assert_eq!(ask(&client(&proxy)).unwrap(), b'a', "new ones work");
    proxy.deliver();
    assert_eq!(heard(&one).unwrap(), b'a', "what was asked meanwhile is answered");
    proxy.stall();
    proxy.cut_stalled();
    assert!(ask(&one).is_err() && ask(&other).is_err());
    assert_eq!(ask(&client(&proxy)).unwrap(), b'a');
}

#[test]
fn after_a_failover_only_new_connections_reach_the_other_server() {
    let proxy = Proxy::to(server(b'a')).unwrap();
    let old = client(&proxy);
    assert_eq!(ask(&old).unwrap(), b'a');
    proxy.lead_to(server(b'b'));
    assert_eq!(ask(&client(&proxy)).unwrap(), b'b');
    assert_eq!(ask(&old).unwrap(), b'a');
}

#[test]
fn half_of_the_connections_are_cut() {
    let proxy = Proxy::to(server(b'a')).unwrap();
    let clients = [0; 4].map(|_| client(&proxy));
    assert!(clients.iter().all(|client| ask(client).is_ok()));
    proxy.cut_half();
    assert_eq!(clients.iter().filter(|client| ask(client).is_ok()).count(), 2);
}

#[test]
fn most_clients_of_a_full_pooler_are_refused_in_postgres_own_words() {
    let given = |name: &str| std::env::var(name).expect("`cargo xtask test` provides it");
    let url = given("REGIMEN_TEST_DATABASE_URL");
    let (login, place) = url.rsplit_once('@').unwrap();
    let port: u16 = place.split(['/', ':']).nth(1).unwrap().parse().unwrap();
    let proxy = Proxy::to(port).unwrap();
    let folder = given("REGIMEN_TEST_POSTGRES_BIN");
    let password = login.rsplit_once(':').unwrap().1;
    let psql = Psql::new(Path::new(&folder), proxy.port(), password);
    psql.run("select 1").unwrap();
    for (refusal, says) in [(Refusal::POOL, "max clients reached"), (Refusal::SERVER, "too many")] {
        proxy.refuse_most(Some(refusal));
        let outcomes = [0; LET_IN].map(|_| psql.run("select 1"));
        let refused = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
        let refused: Vec<String> = refused.map(ToString::to_string).collect();
        assert_eq!(refused.len(), LET_IN - 1);
        assert!(
            refused.iter().all(|why| why.contains("FATAL") && why.contains(says)),
            "{refused:?}"
        );
    }
    proxy.refuse_most(None);
    psql.run("select 1").unwrap();
}
