//! How requests are read: bounded in bytes and time, unknown fields refused, the faulty field named.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::web::{Bytes, Payload};
use causeway_core::error_code::ErrorCode;
use serde::de::DeserializeOwned;

use super::answer::Error;

/// The largest request body that is read, in bytes.
pub const MAXIMUM_BODY_BYTES: usize = 1024 * 1024;

/// How long a body may take to arrive. A client that dribbles is answered and closed.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads a body as JSON of one type.
///
/// # Errors
/// [`Error::TooLarge`], [`Error::Incomplete`], or [`Error::Invalid`] with the field that does not fit.
pub async fn read_json<T: DeserializeOwned>(request: &HttpRequest, payload: Payload) -> Result<T, Error> {
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| usize::try_from(bytes).map_or(true, |bytes| bytes > MAXIMUM_BODY_BYTES)) {
        return Err(Error::TooLarge { maximum_bytes: MAXIMUM_BODY_BYTES });
    }
    parse_json(&read(payload).await?)
}

async fn read(payload: Payload) -> Result<Bytes, Error> {
    let incomplete = || Error::Incomplete { seconds: BODY_TIMEOUT.as_secs() };
    match tokio::time::timeout(BODY_TIMEOUT, payload.to_bytes_limited(MAXIMUM_BODY_BYTES)).await {
        Err(_) | Ok(Ok(Err(_))) => Err(incomplete()),
        Ok(Err(_)) => Err(Error::TooLarge { maximum_bytes: MAXIMUM_BODY_BYTES }),
        Ok(Ok(Ok(bytes))) => Ok(bytes),
    }
}

fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    if bytes.is_empty() {
        return Err(invalid(None, "the body is empty; send JSON"));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let field = (path != "." && !path.is_empty()).then_some(path);
        invalid(field, &error.inner().to_string())
    })?;
    reader.end().map_err(|_| invalid(None, "something follows the JSON value"))?;
    Ok(value)
}

fn invalid(field: Option<String>, message: &str) -> Error {
    let fault = super::answer::RequestFault { code: ErrorCode::InvalidRequest, field, message: message.to_owned() };
    Error::Invalid(vec![fault])
}

/// Reads the query of a request.
///
/// # Errors
/// [`Error::Invalid`] for an unknown name or a value of another form.
pub fn read_query<T: DeserializeOwned>(request: &HttpRequest) -> Result<T, Error> {
    actix_web::web::Query::<T>::from_query(request.query_string()).map(actix_web::web::Query::into_inner).map_err(
        |error| match error {
            actix_web::error::QueryPayloadError::Deserialize(inner) => invalid(None, &format!("in the query: {inner}")),
            _ => invalid(None, "the query is malformed"),
        },
    )
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::{parse_json, read_query};
    use crate::admin::answer::Error;
    use crate::admin::model::change::ChangeQuery;
    use crate::admin::model::stream::CreateStream;

    fn fault_of(body: &str) -> (Option<String>, String) {
        match parse_json::<CreateStream>(body.as_bytes()) {
            Err(Error::Invalid(faults)) => (faults[0].field.clone(), faults[0].message.clone()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn names_the_field_that_does_not_fit() {
        let (field, message) = fault_of(r#"{"name":"a","source":{"instance":"q","topic":7},"target":{}}"#);
        assert_eq!(field.as_deref(), Some("source.topic"));
        assert!(message.contains("string"), "{message}");
        let (field, message) = fault_of(r#"{"name":"a","source":{"instance":"q","topik":"t"}}"#);
        assert_eq!(field.as_deref(), Some("source.topik"));
        assert!(message.contains("topik"), "{message}");
    }

    #[test]
    fn refuses_what_is_no_json_or_more_than_one_value() {
        for body in ["", "{", "[]", "null", "{}", "\u{0}"] {
            assert!(parse_json::<CreateStream>(body.as_bytes()).is_err(), "{body}");
        }
        let twice = r#"{"name":"a","source":{"instance":"q","topic":"t"},"target":{"instance":"h","topic":"t"}} {}"#;
        assert!(fault_of(twice).1.contains("follows"));
    }

    #[test]
    fn queries_refuse_what_they_do_not_know() {
        let query = |text: &str| TestRequest::with_uri(text).to_http_request();
        assert!(read_query::<ChangeQuery>(&query("/x?dry_run=true")).unwrap().dry_run);
        assert!(!read_query::<ChangeQuery>(&query("/x")).unwrap().dry_run);
        assert!(read_query::<ChangeQuery>(&query("/x?dryrun=true")).is_err());
        assert!(read_query::<ChangeQuery>(&query("/x?dry_run=yes")).is_err());
    }
}
