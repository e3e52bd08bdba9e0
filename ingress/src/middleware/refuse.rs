//! Refusals that depend only on the request's head and its peer.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Once, Weak};
use std::time::Duration;

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::header::{CONNECTION, CONTENT_LENGTH};
use axum::http::{HeaderMap, HeaderValue, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::body;
use super::config::{HEADER_BYTES, HEADER_LINES, LimitsConfig, URL_BYTES};
use super::flood::FloodGuard;
use super::observe;
use crate::client_address::ClientAddress;
use crate::error::{ApiError, Part};

/// How often the flood guard removes idle addresses.
const SWEEP_EVERY: Duration = Duration::from_secs(30);

/// The settings of the early refusals.
pub(super) struct EarlyRefusals {
    limits: LimitsConfig,
    flood: Option<FloodGuard>,
    /// The routes that are exempt from the flood guard.
    is_flood_exempt: fn(&str) -> bool,
    /// Warns once of an undeclared proxy.
    undeclared: Once,
}

impl EarlyRefusals {
    pub(super) fn new(limits: &LimitsConfig, is_flood_exempt: fn(&str) -> bool) -> Self {
        Self {
            limits: limits.clone(),
            flood: FloodGuard::new(&limits.flood),
            is_flood_exempt,
            undeclared: Once::new(),
        }
    }

    fn check(&self, request: &Request) -> Result<ClientAddress, ApiError> {
        check_url(request.uri())?;
        check_headers(request.headers())?;
        check_announced_length(request.headers(), self.limits.body_bytes)?;
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        // Without a peer (a router called directly) all requests share one address.
        let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ConnectInfo(peer)| peer.ip());
        self.notice_undeclared_proxy(peer, request.headers());
        let client = self.limits.trusted_proxies.client(peer, request.headers());
        if let Some(flood) = &self.flood
            && request
                .extensions()
                .get::<MatchedPath>()
                .is_none_or(|path| !(self.is_flood_exempt)(path.as_str()))
        {
            flood.check(client)?;
        }
        Ok(client)
    }

    /// Logged once per process: the header proves nothing, because any client can send
    /// it. The metric shows how often it occurs.
    fn notice_undeclared_proxy(&self, peer: IpAddr, headers: &HeaderMap) {
        if !self.limits.trusted_proxies.undeclared(peer, headers) {
            return;
        }
        metrics::counter!("regimen_undeclared_proxy_requests_total").increment(1);
        self.undeclared.call_once(|| {
            tracing::warn!(
                %peer,
                "a request says for whom it was forwarded, and its sender is not among \
                 TRUSTED_PROXIES: the header is ignored and the sender counts as the client. If \
                 this is a proxy of yours, add its address; else no action is needed. Told once; \
                 regimen_undeclared_proxy_requests_total counts on"
            );
        });
    }
}

/// Sweeps the flood guard on a timer until the router is dropped.
pub(super) fn sweep_while_alive(refusals: &Arc<EarlyRefusals>) {
    let refusals: Weak<EarlyRefusals> = Arc::downgrade(refusals);
    tokio::spawn(async move {
        let mut timer = tokio::time::interval(SWEEP_EVERY);
        loop {
            timer.tick().await;
            let Some(refusals) = refusals.upgrade() else { return };
            if let Some(flood) = &refusals.flood {
                flood.sweep();
            }
        }
    });
}

fn check_url(uri: &Uri) -> Result<(), ApiError> {
    let length = uri.path_and_query().map_or(0, |path| path.as_str().len());
    if length > URL_BYTES {
        return Err(ApiError::TooLarge { part: Part::Url, limit: URL_BYTES });
    }
    Ok(())
}

fn check_headers(headers: &HeaderMap) -> Result<(), ApiError> {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if bytes > HEADER_BYTES || headers.len() > HEADER_LINES {
        return Err(ApiError::TooLarge { part: Part::Headers, limit: HEADER_BYTES });
    }
    Ok(())
}

/// Refuses a body by its announced length, without reading it.
fn check_announced_length(headers: &HeaderMap, limit: usize) -> Result<(), ApiError> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    match announced.and_then(|text| text.parse::<u64>().ok()) {
        Some(length) if length > limit as u64 => {
            Err(ApiError::TooLarge { part: Part::Body, limit })
        }
        _ => Ok(()),
    }
}

/// Steps 1 to 3 of [`super::wrap`], and what comes after them without its panics.
pub(super) async fn refuse_early(
    State(refusals): State<Arc<EarlyRefusals>>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let client = match refusals.check(&request) {
        Ok(client) => client,
        Err(refusal) => {
            let is_body = matches!(refusal, ApiError::TooLarge { part: Part::Body, .. });
            if is_body && !body::discard(request.into_body()).await {
                // The rest is never read: the client must not send another request after it.
                let close = [(CONNECTION, HeaderValue::from_static("close"))];
                return Ok((close, refusal).into_response());
            }
            return Err(refusal);
        }
    };
    request.extensions_mut().insert(client);
    let limits = &refusals.limits;
    let request = request.map(|body| body::guard(body, limits.body_bytes, limits.body_timeout));
    Ok(observe::answer_panics(next.run(request)).await)
}

pub(super) async fn unknown_route() -> ApiError {
    ApiError::NotFound("there is nothing at this path; /openapi.json lists every route".to_owned())
}

pub(super) async fn unknown_method() -> ApiError {
    ApiError::MethodNotAllowed
}
