//! From what file, environment and flags said to the values of the settings.
//!
//! What must stay true: file, then environment, then flags, each winning over the one before; a key
//! that is no setting stops the start. A configuration file of Chroma is understood as far as it
//! says something that exists here; the rest of it is refused by name, never passed over.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use vermilion_server::settings::{Settings, Source, Values, declaration};

use crate::arguments::{Run, Serve};
use crate::failure::Failure;

/// The variable that names the configuration file.
const CONFIG_VARIABLE: &str = "VERMILION_CONFIG";
/// The variable that holds an administrator's key of the server. It is no setting, since settings
/// can be flags, which every process of the machine can see.
pub(crate) const ADMIN_KEY_VARIABLE: &str = "VERMILION_ADMIN_KEY";
/// The variable that holds the key which commands send to a server.
pub(crate) const API_KEY_VARIABLE: &str = "VERMILION_API_KEY";
/// The variable that names the certificates which commands trust beside those that all trust.
pub(crate) const CA_VARIABLE: &str = "VERMILION_CA_FILE";
/// Variables that begin like settings and are none: of other commands, of programs that retraining
/// starts, of the examples, and of the Python package.
const OTHERS: &[&str] = &[
    CONFIG_VARIABLE,
    ADMIN_KEY_VARIABLE,
    API_KEY_VARIABLE,
    CA_VARIABLE,
    "VERMILION_KERNELS",
    "VERMILION_MODEL",
    "VERMILION_RETRAINING_EVENT",
    "VERMILION_RETRAINING_RESULT",
    "VERMILION_SESSIONS",
];

/// Keys of Chroma's configuration file, and the settings they are here.
const CHROMA_KEYS: &[(&str, &str)] = &[
    ("port", "port"),
    ("listen_address", "host"),
    ("persist_path", "path"),
    ("allow_reset", "allow_reset"),
    ("cors_allow_origins", "cors_allow_origins"),
    ("max_payload_size_bytes", "body_bytes_max"),
];

/// The settings of `vermilion serve`.
pub(crate) fn of_serve(
    serve: &Serve,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<Values, Failure> {
    let variables: Vec<(String, String)> = variables.into_iter().collect();
    let mut settings = Settings::default();
    let named = variables.iter().find(|(name, _)| name == CONFIG_VARIABLE);
    let file = serve
        .config
        .clone()
        .or_else(|| named.map(|(_, file)| PathBuf::from(file)));
    if let Some(file) = file {
        for (key, value) in read_file(&file)? {
            settings.say(
                &key,
                &text_of(&key, &value, &file)?,
                Source::File(file.clone()),
            )?;
        }
    }
    let admin_key = has_admin_key(&variables);
    settings.say_environment(variables, OTHERS)?;
    for (name, text) in &serve.flags.0 {
        settings.say(name, text, Source::Flag)?;
    }
    checked(&settings, admin_key)
}

/// The settings of `vermilion run`, which takes what `chroma run` takes.
pub(crate) fn of_run(
    run: &Run,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<Values, Failure> {
    let mut settings = Settings::default();
    let mut said = vec![
        ("path", "./chroma".to_owned()),
        ("host", "localhost".to_owned()),
    ];
    for (name, text) in said.drain(..) {
        settings.say(name, &text, Source::Flag)?;
    }
    if let Some(file) = &run.config {
        for (key, value) in read_file(file)? {
            let Some((_, name)) = CHROMA_KEYS.iter().find(|(chroma, _)| *chroma == key) else {
                return Err(foreign_key(&key, file));
            };
            settings.say(
                name,
                &text_of(&key, &value, file)?,
                Source::File(file.clone()),
            )?;
        }
    }
    let variables: Vec<(String, String)> = variables.into_iter().collect();
    let admin_key = has_admin_key(&variables);
    settings.say_environment(variables, OTHERS)?;
    for (name, text) in [
        ("path", &run.path),
        ("host", &run.host),
        ("port", &run.port),
    ] {
        if let Some(text) = text {
            settings.say(name, text, Source::Flag)?;
        }
    }
    if run.insecure {
        settings.say("insecure", "true", Source::Flag)?;
    }
    checked(&settings, admin_key)
}

fn has_admin_key(variables: &[(String, String)]) -> bool {
    variables.iter().any(|(name, _)| name == ADMIN_KEY_VARIABLE)
}

fn checked(settings: &Settings, admin_key: bool) -> Result<Values, Failure> {
    let values = settings.values()?;
    values.validate(admin_key)?;
    Ok(values)
}

fn foreign_key(key: &str, file: &Path) -> Failure {
    let known: Vec<&str> = CHROMA_KEYS.iter().map(|(chroma, _)| *chroma).collect();
    Failure::usage(format!("`{key}` in {} means nothing here", file.display())).hint(format!(
        "of Chroma's configuration these are understood: {}; `vermilion serve --config` takes all settings",
        known.join(", ")
    ))
}

/// The keys and values of a configuration file.
fn read_file(file: &Path) -> Result<Map<String, Value>, Failure> {
    let doing = format!("cannot read the configuration file {}", file.display());
    let text =
        std::fs::read_to_string(file).map_err(|error| Failure::from(error).context(&doing))?;
    let value: Option<Value> = serde_saphyr::from_str(&text).map_err(|error| {
        let first = error.to_string();
        let first = first.lines().next().unwrap_or_default().to_owned();
        Failure::usage(first).context(&doing)
    })?;
    match value {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(map)) => Ok(map),
        Some(_) => Err(Failure::usage("it is no list of `name: value` lines").context(&doing)),
    }
}

/// A value of the file as the text that a flag would have. Null is the empty text, which settings
/// that can be nothing take for that.
fn text_of(key: &str, value: &Value, file: &Path) -> Result<String, Failure> {
    let scalar = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    // A key that is no setting is told as such, whatever it is given.
    let is_list = declaration(key).is_none_or(|one| one.is_list);
    let text = match value {
        Value::Null => Some(String::new()),
        Value::Array(_) if !is_list => None,
        Value::Array(items) => items
            .iter()
            .map(scalar)
            .collect::<Option<Vec<_>>>()
            .map(|items| items.join(",")),
        other => scalar(other),
    };
    text.ok_or_else(|| {
        Failure::usage(format!(
            "`{key}` in {} has no value that a setting can have",
            file.display()
        ))
        .hint(if is_list {
            "write a text, a number, true or false, or a list of texts"
        } else {
            "write a text, a number, or true or false"
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::SettingFlags;

    fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("settings.yaml");
        std::fs::write(&file, text).expect("writable");
        (folder, file)
    }

    fn serve(config: Option<PathBuf>, flags: &[(&'static str, &str)]) -> Serve {
        let flags = flags.iter().map(|(name, text)| (*name, (*text).to_owned()));
        Serve {
            config,
            flags: SettingFlags(flags.collect()),
        }
    }

    fn run_with(config: Option<PathBuf>) -> Run {
        Run {
            config,
            path: None,
            host: None,
            port: None,
            insecure: false,
        }
    }

    #[test]
    fn a_flag_wins_over_the_environment_and_that_over_the_file() {
        let (_folder, file) =
            written("port: 1\nseal_rows: 9\nallow_reset: true\nlog_level: 'warn'\n");
        let variables = [
            ("VERMILION_PORT".to_owned(), "2".to_owned()),
            ("VERMILION_SEAL_ROWS".to_owned(), "8".to_owned()),
        ];
        let values = of_serve(&serve(Some(file), &[("port", "3")]), variables).expect("right");
        assert_eq!(
            (values.port, values.seal_rows, values.allow_reset),
            (3, 8, true)
        );
    }

    #[test]
    fn variables_of_other_parts_of_vermilion_do_not_stop_the_start() {
        for name in OTHERS.iter().filter(|name| **name != CONFIG_VARIABLE) {
            let variables = || [((*name).to_owned(), "x".to_owned())];
            of_serve(&serve(None, &[]), variables()).expect(name);
            of_run(&run_with(None), variables()).expect(name);
        }
        let strange = [("VERMILION_SESSION".to_owned(), "x".to_owned())];
        of_serve(&serve(None, &[]), strange).expect_err("no such variable");
    }

    #[test]
    fn the_variable_names_the_file() {
        let (_folder, file) = written("cors_allow_origins:\n  - http://a\n  - http://b\n");
        let variables = [(CONFIG_VARIABLE.to_owned(), file.display().to_string())];
        let values = of_serve(&serve(None, &[]), variables).expect("right");
        assert_eq!(values.cors_allow_origins.0, ["http://a", "http://b"]);
    }

    #[test]
    fn a_file_with_an_unknown_key_is_refused_by_name() {
        let (_folder, file) = written("prot: 1\n");
        let failure = of_serve(&serve(Some(file), &[]), []).expect_err("unknown");
        let text = failure.to_string();
        assert!(
            text.contains("`prot` in ") && text.contains("did you mean `port`"),
            "{text}"
        );
        assert_eq!(failure.status(), 2);
    }

    #[test]
    fn a_file_that_is_no_mapping_or_is_missing_is_refused() {
        for text in [
            "- a\n- b\n",
            "just words",
            "port: {a: 1}",
            "port: [1, [2]]",
            "a: [unclosed",
        ] {
            let (_folder, file) = written(text);
            of_serve(&serve(Some(file), &[]), []).expect_err(text);
        }
        of_serve(&serve(Some("no/such/file.yaml".into()), &[]), []).expect_err("missing");
        let (_folder, empty) = written("");
        of_serve(&serve(Some(empty), &[]), []).expect("an empty file says nothing");
    }

    #[test]
    fn none_and_null_are_nothing_where_a_setting_can_be_nothing() {
        let (_folder, file) = written(
            "backup_folder: null\naudit_file: none\ntenant_bytes_max: ~\ncors_allow_origins:\n",
        );
        let values = of_serve(&serve(Some(file), &[("access_file", "none")]), []);
        let values = values.expect("all of them can be nothing");
        assert_eq!(values.backup_folder.0, None);
        assert_eq!(values.audit_file.0, None);
        assert_eq!(values.access_file.0, None);
        assert_eq!(values.tenant_bytes_max.0, None);
        assert!(values.cors_allow_origins.0.is_empty());
        for text in ["seal_rows: null\n", "seal_rows: [1]\n", "host: [a]\n"] {
            let (_folder, file) = written(text);
            let failure = of_serve(&serve(Some(file), &[]), []).expect_err(text);
            assert_eq!(failure.status(), 2, "{text}");
        }
    }

    #[test]
    fn run_takes_the_keys_of_chroma_and_refuses_the_rest_by_name() {
        let (_folder, file) = written("port: 9\nlisten_address: 127.0.0.1\npersist_path: ./p\n");
        let values = of_run(&run_with(Some(file)), []).expect("right");
        assert_eq!((values.port, values.host.as_str()), (9, "127.0.0.1"));
        assert_eq!(values.path, PathBuf::from("./p"));
        let (_folder, file) = written("open_telemetry: {}\n");
        let failure = of_run(&run_with(Some(file)), []).expect_err("unknown");
        assert!(failure.to_string().contains("`open_telemetry` in "));
        let plain = of_run(&run_with(None), []).expect("right");
        assert_eq!(
            (plain.path, plain.host),
            ("./chroma".into(), "localhost".to_owned())
        );
    }
}
