//! The proxy between real sockets, and in front of a real PostgreSQL.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::*;

/// How long a test waits to establish silence.
const SILENCE: Duration = Duration::from_millis(200);

/// Between two looks at a condition.
const EACH: Duration = Duration::from_millis(10);

/// A server that answers each byte with its own name; returns its address.
fn server(name: u8) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut byte = [0];
                while client.read_exact(&mut byte).is_ok() && client.write_all(&[name]).is_ok() {}
            });
        }
    });
    address
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
    assert_eq!(proxy.freeze(), 2);
    assert!(is_silent(&one));
    assert_eq!(ask(&client(&proxy)).unwrap(), b'a', "new ones work");
    proxy.resume();
    assert_eq!(heard(&one).unwrap(), b'a', "what was asked meanwhile is answered");
    proxy.freeze();
    proxy.cut_frozen();
    assert!(ask(&one).is_err() && ask(&other).is_err());
    assert_eq!(ask(&client(&proxy)).unwrap(), b'a');
}

#[test]
fn after_a_failover_only_new_connections_reach_the_other_server() {
    let proxy = Proxy::to_url(&format!("redis://{}/0", server(b'a'))).unwrap();
    let old = client(&proxy);
    assert_eq!(ask(&old).unwrap(), b'a');
    proxy.retarget(server(b'b'));
    let new = client(&proxy);
    assert_eq!(ask(&new).unwrap(), b'b');
    assert_eq!(ask(&old).unwrap(), b'a');
    assert_eq!(proxy.standing(), 2);
    proxy.freeze();
    proxy.cut();
    assert!(ask(&old).is_err() && ask(&new).is_err());
}

#[test]
fn a_url_leads_through_the_proxy_with_its_login_and_path() {
    let proxy = Proxy::to("127.0.0.1:1").unwrap();
    let through = |url: &str| proxy.url(url).replace(&proxy.port().to_string(), "PORT");
    assert_eq!(through("redis://a:b@store:6379/2"), "redis://a:b@127.0.0.1:PORT/2");
    assert_eq!(through("postgres://store:5432?x=@"), "postgres://127.0.0.1:PORT?x=@");
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
    let proxy = Proxy::to_url(&url).unwrap();
    let psql = PathBuf::from(given("REGIMEN_TEST_POSTGRES_BIN")).join("psql");
    let select = || {
        let output =
            Command::new(&psql).args([&proxy.url(&url), "-c", "select 1"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(said) }
    };
    select().unwrap();
    for (refusal, says) in [(Refusal::POOL, "max clients reached"), (Refusal::SERVER, "too many")] {
        proxy.refuse_most(Some(refusal));
        let refused: Vec<_> = (0..LET_IN).filter_map(|_| select().err()).collect();
        assert_eq!(refused.len(), LET_IN - 1);
        assert!(
            refused.iter().all(|why| why.contains("FATAL") && why.contains(says)),
            "{refused:?}"
        );
    }
    proxy.refuse_most(None);
    select().unwrap();
}

#[test]
fn a_balancer_uses_the_servers_that_say_they_are_ready() {
    let answers = |status: Arc<Mutex<&'static str>>| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                let _ = client.read(&mut [0; 512]);
                let _ = client.write_all(format!("HTTP/1.1 {}\r\n\r\n", lock(&status)).as_bytes());
            }
        });
        address
    };
    let (one, two) = (Arc::new(Mutex::new("200 OK")), Arc::new(Mutex::new("503 Away")));
    let (first, second) = (answers(Arc::clone(&one)), answers(Arc::clone(&two)));
    let balancer = Balancer::open().unwrap();
    let until = |uses: [bool; 2]| {
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while [balancer.uses(first), balancer.uses(second)] != uses {
            assert!(std::time::Instant::now() < deadline, "{uses:?}");
            thread::sleep(EACH);
        }
    };
    let connects = || {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, balancer.port())).unwrap();
        let _ = stream.write_all(b"?");
        stream.read(&mut [0; 1]).is_ok_and(|read| read == 1)
    };
    assert!(!connects(), "a connection without a server");
    balancer.add(first);
    balancer.add(second);
    until([true, false]);
    assert!(connects());
    *lock(&two) = "200 OK";
    until([true, true]);
    *lock(&one) = "503 Away";
    until([false, true]);
    balancer.remove(second);
    until([false, false]);
}
