//! The format as a JSON Schema.

/// The JSON Schema of a scenario file.
pub fn schema() -> serde_json::Value {
    serde_json::Value::Null
}
