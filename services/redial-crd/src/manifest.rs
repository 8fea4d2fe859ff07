//! The CustomResourceDefinition as a file.

use kube::CustomResourceExt;
use schemars::Schema;
use serde_json::Value;

use crate::RedialPolicy;

const HEADER: &str = "\
# Made by `make crd` from services/redial-crd; a test compares. Change the types there, not this file.
# Helm installs what is in crds/ once and never updates it: with a new version, `kubectl apply --server-side -f` this file first.
";

/// The CustomResourceDefinition of [`RedialPolicy`] as YAML, as it is committed in the chart.
///
/// # Errors
/// When it cannot be written as YAML.
pub fn yaml() -> Result<String, serde_saphyr::ser::Error> {
    Ok(format!("{HEADER}{}", serde_saphyr::to_string(&RedialPolicy::crd())?))
}

/// A field that is not given is absent, never `null`: rules ask `has()`, which is true of a null. The API server drops a null where the
/// schema has no room for it.
pub(crate) fn without_null(schema: &mut Schema) {
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for property in properties.values_mut().filter_map(Value::as_object_mut) {
        if let Some(Value::Array(types)) = property.get_mut("type") {
            types.retain(|name| name != "null");
            if let [only] = types.as_slice() {
                let only = only.clone();
                property.insert("type".to_owned(), only);
            }
        }
        if let Some(Value::Array(values)) = property.get_mut("enum") {
            values.retain(|value| !value.is_null());
        }
        if let Some(Value::Array(mut choices)) = property.remove("anyOf") {
            choices.retain(|choice| choice["type"] != "null");
            match choices.as_mut_slice() {
                [Value::Object(only)] => {
                    for (key, value) in std::mem::take(only) {
                        property.entry(key).or_insert(value);
                    }
                }
                _ => _ = property.insert("anyOf".to_owned(), Value::Array(choices)),
            }
        }
    }
}
