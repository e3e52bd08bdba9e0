//! Servers to compare Regimen with. The argument says which: `bare`, `apalis-server`
//! or `apalis-worker`. They are started and ended by `cargo xtask bench`.

mod apalis;
mod bare;

use std::error::Error;
use std::path::PathBuf;

use axum::Router;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// The allocator that Regimen's binaries use.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut ended = signal(SignalKind::terminate())?;
    let role = std::env::args().nth(1).unwrap_or_default();
    tokio::select! {
        ran = run(&role) => ran,
        _ = ended.recv() => Ok(()),
    }
}

async fn run(role: &str) -> Result<(), Failure> {
    match role {
        "bare" => serve(bare::router()).await,
        "apalis-server" => serve(apalis::router().await?).await,
        "apalis-worker" => apalis::work().await,
        other => {
            Err(format!("there is no {other:?}; there are: bare, apalis-server, apalis-worker")
                .into())
        }
    }
}

async fn serve(app: Router) -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    ready(&format!("PEER_URL=http://{}\n", listener.local_addr()?))?;
    // A request is one small packet and must not wait for another.
    let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
        let _ = stream.set_nodelay(true);
    });
    Ok(axum::serve(listener, app).await?)
}

/// Tells the one who started this process that it is ready.
fn ready(lines: &str) -> Result<(), Failure> {
    let path = PathBuf::from(setting("ADDRESS_FILE")?);
    let draft = path.with_extension("draft");
    std::fs::write(&draft, lines)?;
    Ok(std::fs::rename(draft, path)?)
}

fn setting(name: &str) -> Result<String, Failure> {
    std::env::var(name).map_err(|error| format!("{name}: {error}").into())
}
