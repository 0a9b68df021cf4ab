//! The JSON Schema of a job, for editors and other programs.

use super::Job;

/// The JSON Schema (draft 2020-12) of a job file.
///
/// An editor that knows it completes keys and shows their descriptions. `{ each = … }` values (see
/// [`Term`](super::Term)) stand in for any parameter and are not in it.
pub fn schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(Job);
    schema.insert("title".to_owned(), "stackphys job".into());
    schema.to_value()
}
#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value as Json;
    use toml::{Table, Value};

    use super::*;

    /// A path into a job, and the `kind = "…"` that a table on the way must have.
    type Way = Vec<(String, Option<(String, String)>)>;

    /// All keys that the schema knows, each with the way to its table; the names of the object schemas met are noted.
    fn keys(root: &Json, node: &Json, way: &Way, met: &mut BTreeSet<String>, found: &mut Vec<(Way, String)>) {
        if let Some(name) = node["$ref"].as_str() {
            let name = name.trim_start_matches("#/$defs/");
            if way.last().is_some_and(|(step, _)| step == "like") {
                return; // a `data` table in a `data` table
            }
            met.insert(name.to_owned());
            keys(root, &root["$defs"][name], way, met, found);
        }
        for choice in ["oneOf", "anyOf"].iter().filter_map(|word| node[word].as_array()).flatten() {
            keys(root, choice, way, met, found);
        }
        let into = |step: &str| way.iter().cloned().chain([(step.to_owned(), None)]).collect::<Way>();
        if node["items"].is_object() {
            keys(root, &node["items"], &into("0"), met, found);
        }
        if node["additionalProperties"].is_object() {
            keys(root, &node["additionalProperties"], &into("angle"), met, found);
        }
        let Some(properties) = node["properties"].as_object() else { return };
        let tag = properties.iter().find_map(|(key, value)| Some((key.clone(), value["const"].as_str()?.to_owned())));
        for (key, value) in properties {
            let mut way = way.clone();
            if let Some(table) = way.last_mut() {
                table.1 = tag.clone();
            }
            found.push((way.clone(), key.clone()));
            way.push((key.clone(), None));
            keys(root, value, &way, met, found);
        }
    }

    /// The table at the end of the way; one that has a kind starts with nothing else.
    fn table_at<'t>(mut here: &'t mut Value, way: &Way) -> &'t mut Table {
        for (place, (step, kind)) in way.iter().enumerate() {
            let is_list = way.get(place + 1).is_some_and(|(next, _)| next == "0");
            let table = Value::Table(Table::new());
            here = match here {
                Value::Array(list) => &mut list[step.parse::<usize>().unwrap()],
                Value::Table(above) => {
                    above.entry(step).or_insert(if is_list { Value::Array(vec![table]) } else { table })
                }
                other => panic!("{other} on the way {way:?}"),
            };
            if let Some((tag, name)) = kind {
                *here = Value::Table(Table::from_iter([(tag.clone(), name.clone().into())]));
            }
        }
        here.as_table_mut().unwrap()
    }

    #[test]
    fn each_key_misspelt_is_found_with_its_line_and_the_right_spelling() {
        let root = schema();
        let (mut met, mut found) = (BTreeSet::new(), Vec::new());
        keys(&root, &root, &Way::new(), &mut met, &mut found);

        let objects = root["$defs"].as_object().unwrap().iter().filter(|(_, def)| def["properties"].is_object());
        for (name, _) in objects {
            assert!(met.contains(name), "no way leads to {name}");
        }
        assert!(found.len() > 40, "{found:?}");

        for (way, key) in found {
            let mut job: Value = Value::Table(include_str!("../../configs/demo.toml").parse().unwrap());
            let table = table_at(&mut job, &way);
            let misspelt = format!("{}{key}", &key[..1]);
            table.remove(&key);
            table.insert(misspelt.clone(), 1.into());

            let text = toml::to_string(&job).unwrap();
            let line = text.lines().position(|line| line.contains(&misspelt)).unwrap() + 1;
            let fault = Job::from_toml(&text, "job.toml", &[]).unwrap_err();
            let mut steps: Vec<&str> = way.iter().map(|(step, _)| step.as_str()).collect();
            if steps.starts_with(&["terms", "0"]) && !(key == "name" && steps.len() == 2) {
                steps[1] = "phantom"; // a term that has a name
            }
            let path = if steps.is_empty() { String::new() } else { steps.join(".") + ": " };
            assert_eq!(fault.text, format!("job.toml:{line}: {path}unknown key `{misspelt}`"), "{text}");
            let hint = fault.hint.unwrap();
            assert!(hint.starts_with(&format!("did you mean `{key}`? valid keys: `")), "{hint}");
        }
    }

    #[test]
    fn what_may_be_left_out_has_its_default_in_the_schema() {
        let root = schema();
        assert_eq!(root["$defs"]["Run"]["properties"]["summation"]["default"], "fast");
        assert_eq!(root["$defs"]["Output"]["properties"]["folder"]["default"], "out");
        assert_eq!(root["$defs"]["Cut"]["properties"]["order"]["default"], "contiguous");
        assert_eq!(root["required"], serde_json::json!(["version", "model", "terms"]));
    }

    #[test]
    fn every_key_of_the_config_is_described() {
        let root = schema();
        for name in ["Model", "Term", "Cut", "Solve", "Norm", "Run", "Output"] {
            for (key, value) in root["$defs"][name]["properties"].as_object().unwrap() {
                assert!(value["description"].as_str().is_some_and(|text| text.len() > 10), "{name}.{key}: {value}");
            }
        }
    }
}
