//! Bodies about functions that are attached to collections.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use vermilion_engine::model::{AttachedFunction, CollectionScope, Function};

use crate::{ApiError, json as wire, names};

/// Bytes of the longest name of an attached function.
const NAME_BYTES_MAX: usize = 512;

/// What is asked to be attached.
#[derive(Debug)]
pub struct NewFunction {
    /// The name it is to have.
    pub name: String,
    /// What it is to do.
    pub function: Function,
    /// The name of the collection that it is to fill.
    pub output_collection: String,
}

/// Decodes what is to be attached.
pub fn decode_attach(body: &[u8]) -> Result<NewFunction, ApiError> {
    #[derive(Deserialize)]
    struct Body {
        name: String,
        function_id: String,
        output_collection: String,
        #[serde(default)]
        params: Option<Map<String, Value>>,
    }
    let body: Body = wire::decode(body)?;
    if body.name.is_empty() || body.name.len() > NAME_BYTES_MAX {
        return Err(ApiError::validation(
            "name",
            format_args!(
                "the name of a function has 1 to {NAME_BYTES_MAX} bytes, this one has {}",
                body.name.len()
            ),
        ));
    }
    names::check_collection_name("output_collection", &body.output_collection)?;
    if body.params.is_some_and(|params| !params.is_empty()) {
        return Err(ApiError::invalid(
            "params must be empty - no functions currently accept parameters",
        ));
    }
    let function = Function::named(&body.function_id).ok_or_else(|| {
        let known: Vec<&str> = Function::ALL.iter().map(|one| one.name()).collect();
        ApiError::new(
            404,
            format!(
                "function not found: {:?}; there are {}",
                body.function_id,
                known.join(", ")
            ),
        )
    })?;
    Ok(NewFunction {
        name: body.name,
        function,
        output_collection: body.output_collection,
    })
}

/// Decodes what is asked to be a further input of a function: an object, whatever it says.
pub fn decode_added_input(body: &[u8]) -> Result<(), ApiError> {
    wire::decode::<Map<String, Value>>(body).map(|_| ())
}

/// The error of a further input for a function, in the words that Chroma has for it.
pub fn one_input() -> ApiError {
    ApiError::invalid("multiple input collections are only supported for async attached functions")
}

/// Decodes whether detaching deletes the output too.
pub fn decode_detach(body: &[u8]) -> Result<bool, ApiError> {
    #[derive(Deserialize)]
    struct Body {
        #[serde(default)]
        delete_output: bool,
    }
    Ok(wire::decode::<Body>(body)?.delete_output)
}

/// Writes what was attached, and whether it is new.
pub fn write_attached(attached: &AttachedFunction, created: bool) -> Vec<u8> {
    let details = &attached.source.details;
    let answer = json!({
        "attached_function": {
            "id": attached.source.id,
            "name": details.name,
            "function_name": details.function.name(),
        },
        "created": created,
    });
    answer.to_string().into_bytes()
}

/// Writes all that is known of a function attached to the collection of `scope`, whose database has
/// the id `database_id`.
pub fn write_function(
    attached: &AttachedFunction,
    scope: CollectionScope<'_>,
    database_id: uuid::Uuid,
) -> Vec<u8> {
    let details = &attached.source.details;
    let answer = json!({
        "attached_function": {
            "id": attached.source.id,
            "name": details.name,
            "function_name": details.function.name(),
            "input_collection_id": details.input,
            "output_collection": attached.output_name,
            "output_collection_id": details.output,
            "params": null,
            "tenant_id": scope.tenant,
            "database_id": database_id,
            "completion_offset": attached.seen,
            "min_records_for_invocation": 1,
            "last_error": attached.last_error,
        },
    });
    answer.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: &Value) -> (u16, String) {
        let error = decode_attach(body.to_string().as_bytes()).unwrap_err();
        (error.status, error.message)
    }

    #[test]
    fn what_cannot_be_attached_is_refused_by_name() {
        let body = |name: &str, function: &str, output: &str, params: Value| {
            json!({"name": name, "function_id": function, "output_collection": output,
                   "params": params})
        };
        let cases = [
            (body("", "statistics", "out", Value::Null), 400, "1 to 512"),
            (
                body("a", "statistics", "x", Value::Null),
                400,
                "output_collection",
            ),
            (
                body("a", "median", "out", Value::Null),
                404,
                "function not found",
            ),
            (
                body("a", "statistics", "out", json!({"k": 1})),
                400,
                "params must be empty",
            ),
            (json!({"name": "a"}), 422, "function_id"),
        ];
        for (body, status, message) in cases {
            let (found, said) = refused(&body);
            assert_eq!(found, status, "{body}: {said}");
            assert!(said.contains(message), "{said}");
        }
        let empty = body("a", "record_counter", "out", json!({}));
        let taken = decode_attach(empty.to_string().as_bytes()).unwrap();
        assert_eq!(taken.function, Function::RecordCounter);
    }

    #[test]
    fn detaching_keeps_the_output_unless_it_is_said() {
        assert!(!decode_detach(b"{}").unwrap());
        assert!(decode_detach(br#"{"delete_output":true}"#).unwrap());
        assert_eq!(
            decode_detach(br#"{"delete_output":1}"#).unwrap_err().status,
            422
        );
    }
}
