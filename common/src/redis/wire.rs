//! One connection, and what its replies say about its state.

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster_async::ClusterConnection;
use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisResult, Value};

/// A connection to one server or to a cluster. Cheap to clone.
#[derive(Clone)]
pub(super) enum Wire {
    Server(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Wire {
    pub(super) async fn command(&mut self, command: &Cmd) -> RedisResult<Value> {
        match self {
            Self::Server(connection) => connection.req_packed_command(command).await,
            Self::Cluster(connection) => connection.req_packed_command(command).await,
        }
    }

    pub(super) async fn pipeline(
        &mut self,
        pipeline: &Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisResult<Vec<Value>> {
        match self {
            Self::Server(connection) => {
                connection.req_packed_commands(pipeline, offset, count).await
            }
            Self::Cluster(connection) => {
                connection.req_packed_commands(pipeline, offset, count).await
            }
        }
    }
}

/// What a reply says about the connection and its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sign {
    /// Nothing.
    Fine,
    /// The server may refuse more than this command.
    Doubt,
    /// A new connection may work.
    Broken,
}

/// The error codes of a server that refuses other commands too.
const DOUBTFUL: [&str; 10] = [
    "OOM",
    "MISCONF",
    "NOREPLICAS",
    "LOADING",
    "BUSY",
    "CLUSTERDOWN",
    "MASTERDOWN",
    "TRYAGAIN",
    "NOPERM",
    "UNBLOCKED",
];
/// The error codes after which only a new connection helps: the server became a replica,
/// or no longer knows our credentials.
const LOST: [&str; 3] = ["READONLY", "NOAUTH", "WRONGPASS"];

impl Sign {
    pub(super) fn of_error(error: &RedisError) -> Self {
        let by_code = error.code().map_or(Self::Fine, Self::of_code);
        // The errors of a pipeline or a transaction are inside.
        let inside = error.clone().into_server_errors();
        let inside = inside.iter().flat_map(|errors| errors.iter());
        let worst = inside.map(|(_, error)| Self::of_code(error.code())).max();
        let lost = error.is_io_error()
            || error.is_unrecoverable_error()
            || error.kind() == ErrorKind::AuthenticationFailed;
        let by_kind = if lost { Self::Broken } else { Self::Fine };
        by_code.max(by_kind).max(worst.unwrap_or(Self::Fine))
    }

    /// A value may contain errors, as in a pipeline.
    pub(super) fn of_value(value: &Value) -> Self {
        match value {
            Value::ServerError(error) => Self::of_code(error.code()),
            Value::Array(values) | Value::Set(values) => Self::of_values(values),
            _ => Self::Fine,
        }
    }

    pub(super) fn of_values(values: &[Value]) -> Self {
        values.iter().map(Self::of_value).max().unwrap_or(Self::Fine)
    }

    fn of_code(code: &str) -> Self {
        if LOST.contains(&code) {
            Self::Broken
        } else if DOUBTFUL.contains(&code) {
            Self::Doubt
        } else {
            Self::Fine
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(text: &str) -> Value {
        redis::parse_redis_value(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_refusal_is_seen_wherever_it_stands() {
        let table = [
            ("-READONLY You can't write against a read only replica.\r\n", Sign::Broken),
            ("-NOAUTH Authentication required.\r\n", Sign::Broken),
            ("*2\r\n:1\r\n-READONLY no script: a1, on @user_script:7.\r\n", Sign::Broken),
            ("*2\r\n*1\r\n-OOM command not allowed\r\n:1\r\n", Sign::Doubt),
            ("-MISCONF Redis is configured to save RDB snapshots\r\n", Sign::Doubt),
            ("-NOREPLICAS Not enough good replicas to write.\r\n", Sign::Doubt),
            ("-LOADING Redis is loading the dataset in memory\r\n", Sign::Doubt),
            ("-NOSCRIPT No matching script.\r\n", Sign::Fine),
            ("-WRONGTYPE Operation against a key\r\n", Sign::Fine),
            ("$8\r\nREADONLY\r\n", Sign::Fine),
        ];
        for (text, sign) in table {
            let value = reply(text);
            assert_eq!(Sign::of_value(&value), sign, "{text:?} as a value");
            if let Err(error) = value.extract_error() {
                assert_eq!(Sign::of_error(&error), sign, "{text:?} as an error");
            }
        }
        let cut = RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
        assert_eq!(Sign::of_error(&cut), Sign::Broken);
    }
}
