//! Fields of a form or of a query string, as browsers send them.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};

use super::fault::Fault;
use crate::error::ApiError;
use crate::extract::read_body;

/// The fields, in their order; a name may come several times. Blank values are dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads `name=value&…`.
    pub(super) fn read(text: &[u8]) -> Self {
        let pairs = url::form_urlencoded::parse(text);
        let pairs = pairs.map(|(name, value)| (name.into_owned(), value.trim().to_owned()));
        Self(pairs.filter(|(_, value)| !value.is_empty()).collect())
    }

    /// The first value of a field.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// Every value of a field.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// A value as `T`.
    ///
    /// # Errors
    /// 422 that names the field.
    pub(super) fn parse<T: std::str::FromStr>(
        &self,
        name: &str,
        must: &str,
    ) -> Result<Option<T>, ApiError> {
        let parsed = self.get(name).map(str::parse).transpose();
        parsed.map_err(|_| ApiError::field(format!("?{name}"), must))
    }

    /// The fields as a query string, without those named.
    pub(super) fn query_without(&self, left_out: &[&str]) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(self.0.iter().filter(|(name, _)| !left_out.contains(&name.as_str())));
        query.finish()
    }
}

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = Fault;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Fault> {
        if !is_form(request.headers()) {
            return Err(ApiError::BadRequest(
                "this route reads the forms of the console's pages; open the page".to_owned(),
            )
            .into());
        }
        let body: Bytes = read_body(request.into_body()).await?;
        Ok(Self::read(&body))
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_as_a_query_string() {
        let form = Form::read(b"state=failed&id=1&id=2&blank=+&user=a%26b%3D%3Cc");
        assert_eq!(form.get("state"), Some("failed"));
        assert_eq!(form.all("id").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!((form.get("blank"), form.get("user")), (None, Some("a&b=<c")));
        assert_eq!(form.query_without(&["id"]), "state=failed&user=a%26b%3D%3Cc");
        assert_eq!(form.parse::<u8>("id", "x").unwrap(), Some(1));
        assert!(form.parse::<u8>("state", "must be a number").is_err());
    }
}
