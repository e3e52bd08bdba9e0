//! Connections over real TLS, and errors told apart: away, or refused.

use rcgen::{CertificateParams, Issuer, KeyPair};
use regimen_common::db::{self, DbError};
use regimen_common::test_support::{PrivatePostgres, TestDatabase};
use secrecy::SecretString;
use tempfile::NamedTempFile;
use tokio_postgres::error::SqlState;

/// A certificate authority's PEM, and a server's certificate and key under it.
struct Certificates {
    authority: String,
    certificate: String,
    key: String,
}

fn certificates(server: &str) -> Certificates {
    let authority_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(params, authority_key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![server.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap().pem();
    Certificates { authority, certificate, key: key.serialize_pem() }
}

/// Puts a file where the server looks for it, with the rights it insists on.
async fn install(client: &tokio_postgres::Client, name: &str, text: &str) {
    let sql = format!(
        "copy (select regexp_split_to_table('{text}', e'\\n'))
         to program 'umask 077; cat > {name}'"
    );
    client.batch_execute(&sql).await.unwrap();
}

/// A server that speaks TLS as `host`, and its authority in a file.
async fn secured(host: &str) -> (PrivatePostgres, NamedTempFile) {
    let server = PrivatePostgres::start().await;
    let made = certificates(host);
    let client = db::connect(&server.secret_url(), "test").await.unwrap();
    install(&client, "server.crt", &made.certificate).await;
    install(&client, "server.key", &made.key).await;
    client.batch_execute("alter system set ssl = on").await.unwrap();
    client.execute("select pg_reload_conf()", &[]).await.unwrap();
    let authority = NamedTempFile::new().unwrap();
    std::fs::write(authority.path(), made.authority).unwrap();
    (server, authority)
}

fn with(server: &PrivatePostgres, query: &str) -> SecretString {
    SecretString::from(format!("{}?{query}", server.url()))
}

async fn is_encrypted(url: &SecretString) -> Result<bool, DbError> {
    let pool = db::pool(url, 1, "test")?;
    let client = pool.get().await?;
    let sql = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
    Ok(client.query_one(sql, &[]).await?.get(0))
}

#[tokio::test]
async fn tls_holds_only_with_the_right_authority_and_name() {
    let (mut server, authority) = secured("127.0.0.1").await;
    // A restart, because a reload is taken up at a moment nobody tells.
    server.restart().await;
    let file = authority.path().display();
    let trusted = with(&server, &format!("sslmode=verify-full&sslrootcert={file}"));
    assert!(is_encrypted(&trusted).await.unwrap());
    assert!(!is_encrypted(&with(&server, "sslmode=disable")).await.unwrap());

    // Unknown to the public web's authorities; `require` verifies as well.
    let error = is_encrypted(&with(&server, "sslmode=require")).await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");

    let (mut other, authority) = secured("somewhere.else.test").await;
    other.restart().await;
    let file = authority.path().display();
    let misnamed = with(&other, &format!("sslmode=require&sslrootcert={file}"));
    let error = is_encrypted(&misnamed).await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
}

#[tokio::test]
async fn a_refused_statement_is_not_an_outage() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    for (sql, code) in [
        ("select * from nowhere", SqlState::UNDEFINED_TABLE),
        (
            "insert into public.profiles (id) values (gen_random_uuid())",
            SqlState::NOT_NULL_VIOLATION,
        ),
    ] {
        let error = client.batch_execute(sql).await.unwrap_err();
        assert_eq!(error.code(), Some(&code), "{sql}");
        assert!(!error.is_unavailable(), "{sql}");
        assert!(error.to_string().contains(code.code()), "{error}");
    }
    let interior_zero = client.execute("select $1::text", &[&"a\0b"]).await;
    assert!(!interior_zero.unwrap_err().is_unavailable());
}

#[tokio::test]
async fn nobody_there_and_no_room_are_outages() {
    // Nobody may listen on port 1 but root, and root does not.
    let url = SecretString::from("postgres://postgres@127.0.0.1:1/postgres");
    let error = db::pool(&url, 1, "test").unwrap().get().await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");

    let database = TestDatabase::new().await;
    let admin = database.client().await;
    let name = database.url().rsplit('/').next().unwrap();
    let close = format!("alter database {name} connection limit 0");
    admin.batch_execute(&close).await.unwrap();
    let role = format!("limited_{}", &name[name.len() - 12..]);
    let create = format!("create role {role} login password '{role}'");
    admin.batch_execute(&create).await.unwrap();
    let mut url = url::Url::parse(database.url()).unwrap();
    url.set_username(&role).unwrap();
    url.set_password(Some(&role)).unwrap();
    let url = SecretString::from(url.to_string());
    let error = db::connect(&url, "test").await.unwrap_err();
    admin.batch_execute(&format!("drop role {role}")).await.unwrap();
    assert_eq!(error.code(), Some(&SqlState::TOO_MANY_CONNECTIONS), "{error}");
    assert!(error.is_unavailable());
}

#[tokio::test]
async fn a_pool_without_a_free_connection_is_an_outage_to_its_caller() {
    let database = TestDatabase::new().await;
    let pool = db::pool(&database.secret_url(), 1, "test").unwrap();
    let _taken = pool.get().await.unwrap();
    let error = pool.within(std::time::Duration::from_millis(50)).get().await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
}
