//! Tests of the settings: what wins, what is refused, and that the page is up to date.

use std::path::Path;

use super::*;

fn values(said: &[(&str, &str, Source)]) -> Result<Values, SettingsError> {
    let mut settings = Settings::default();
    for (name, text, source) in said {
        settings.say(name, text, source.clone())?;
    }
    settings.values()
}

#[test]
fn every_default_is_readable_and_is_the_engines_own() {
    let values = Settings::default().values().expect("defaults are readable");
    let (limits, upkeep) = (values.limits(), values.upkeep());
    assert_eq!(format!("{limits:?}"), format!("{:?}", Limits::default()));
    assert_eq!(format!("{upkeep:?}"), format!("{:?}", Upkeep::default()));
    assert_eq!(
        format!("{:?}", values.ingest()),
        format!("{:?}", Ingest::default())
    );
    assert_eq!(values.body_bytes_max.0, 41_943_040);
    assert_eq!(values.scheduler_class, SchedulerClass::default());
    values.validate(false).expect("the defaults go together");
}

#[test]
fn a_later_source_wins() {
    let file = Source::File("vermilion.yaml".into());
    let values = values(&[
        ("port", "1", file.clone()),
        ("seal_rows", "7", file),
        ("port", "2", Source::Environment),
        ("port", "3", Source::Flag),
    ])
    .expect("all are right");
    assert_eq!((values.port, values.seal_rows), (3, 7));
}

#[test]
fn an_unknown_name_is_named_with_the_nearest_setting() {
    let error = values(&[("alow_reset", "true", Source::Flag)]).expect_err("no such setting");
    assert_eq!(error.message, "--alow-reset is no setting");
    assert!(
        error
            .hint
            .expect("a hint")
            .starts_with("did you mean --allow-reset?")
    );
    let mut settings = Settings::default();
    let error = settings
        .say_environment([("VERMILION_PROT".into(), "1".into())], &[])
        .expect_err("no such variable");
    assert_eq!(error.message, "VERMILION_PROT is no setting");
    assert!(error.hint.expect("a hint").contains("VERMILION_PORT"));
}

#[test]
fn other_variables_are_left_alone() {
    let mut settings = Settings::default();
    let variables = [
        ("VERMILION_CONFIG".to_owned(), "x".to_owned()),
        ("HOME".to_owned(), "y".to_owned()),
        ("VERMILION_ALLOW_RESET".to_owned(), "on".to_owned()),
    ];
    settings
        .say_environment(variables, &["VERMILION_CONFIG"])
        .expect("all are known");
    assert!(settings.says("allow_reset") && !settings.says("path"));
    assert!(settings.values().expect("readable").allow_reset);
}

#[test]
fn a_wrong_value_names_its_place_and_what_is_allowed() {
    let file = Source::File("a.yaml".into());
    for (name, text, source, expected) in [
        (
            "port",
            "x",
            Source::Flag,
            "--port is `x`, which is not a number from 0 to 65535",
        ),
        (
            "port",
            "65536",
            Source::Environment,
            "VERMILION_PORT is `65536`",
        ),
        (
            "seal_rows",
            "0",
            file.clone(),
            "`seal_rows` in a.yaml is `0`",
        ),
        (
            "log_level",
            "loud",
            file,
            "which is not one of off, error, warn",
        ),
        (
            "body_bytes_max",
            "4 MB",
            Source::Flag,
            "--body-bytes-max is `4 MB`",
        ),
        ("seal_idle_after", "5", Source::Flag, "a time such as 250ms"),
        (
            "cors_allow_origins",
            "example.org",
            Source::Flag,
            "a list of origins",
        ),
        ("allow_reset", "maybe", Source::Flag, "`true` or `false`"),
        (
            "scheduler_class",
            "cron",
            Source::Flag,
            "`in_process` or `external`",
        ),
    ] {
        let error = values(&[(name, text, source)]).expect_err(name);
        assert!(error.message.contains(expected), "{error} lacks {expected}");
    }
}

#[test]
fn sizes_times_and_lists_are_read() {
    let values = values(&[
        ("body_bytes_max", "3KiB", Source::Flag),
        ("seal_idle_after", "250ms", Source::Flag),
        ("cors_allow_origins", "http://a, https://b", Source::Flag),
    ])
    .expect("all are right");
    assert_eq!(values.body_bytes_max.0, 3072);
    assert_eq!(values.seal_idle_after, Duration::from_millis(250));
    assert_eq!(values.cors_allow_origins.0, ["http://a", "https://b"]);
}

#[test]
fn what_can_be_nothing_is_so_as_the_page_writes_it() {
    let optional = DECLARATIONS.iter().filter(|one| one.default.is_empty());
    for one in optional {
        let said = |text: &str| values(&[(one.name, text, Source::Flag)]);
        let nothing = said("").expect(one.name);
        assert_eq!(said(one.default_shown()), Ok(nothing), "{}", one.name);
    }
    let error = values(&[("tenant_bytes_max", "x", Source::Flag)]).expect_err("no size");
    assert_eq!(error.hint.as_deref(), Some("the default is `none`"));
    let socket = values(&[("socket", "none", Source::Flag)]).expect("a path, or none");
    assert_eq!(socket.socket.0, None);
}

#[test]
fn a_size_beyond_64_bits_is_refused() {
    assert_eq!(ByteCount::parse("99999999999GiB"), None);
    assert_eq!(Duration::parse("99999999999999999h"), None);
}

#[test]
fn a_public_address_needs_keys_or_insecure() {
    for host in ["0.0.0.0", "::", "192.168.1.5", "example.org"] {
        let public = values(&[("host", host, Source::Flag)]).expect("readable");
        let error = public.validate(false).expect_err(host);
        assert!(error.hint.expect("a hint").contains("--insecure"));
        let insecure = [
            ("host", host, Source::Flag),
            ("insecure", "true", Source::Flag),
        ];
        values(&insecure)
            .expect("readable")
            .validate(false)
            .expect("asked for twice");
        public.validate(true).expect("a key of the environment");
        let keys = [
            ("host", host, Source::Flag),
            ("access_file", "keys.json", Source::Flag),
        ];
        let keys = values(&keys).expect("readable");
        keys.validate(false).expect("keys of a file");
    }
    for host in ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost"] {
        let own = values(&[("host", host, Source::Flag)]).expect("readable");
        own.validate(false).expect(host);
    }
}

#[test]
fn a_certificate_without_its_key_is_refused() {
    let half = [("tls_certificate", "c.pem", Source::Flag)];
    let half = values(&half).expect("readable");
    assert_eq!(half.tls(), None);
    assert!(half.validate(false).is_err());
    let both = [
        ("tls_certificate", "c.pem", Source::Flag),
        ("tls_key", "k.pem", Source::Flag),
    ];
    let both = values(&both).expect("readable");
    both.validate(false).expect("both are there");
    assert!(both.tls().is_some());
}

#[test]
fn more_indexing_workers_than_any_machine_uses_are_refused() {
    let with = |workers: &str| {
        let said = values(&[("indexing_workers", workers, Source::Flag)]);
        said.expect("readable").validate(false)
    };
    with("256").expect("it is allowed");
    let error = with("257").expect_err("too many");
    assert!(error.message.contains("at most 256 are allowed"), "{error}");
}

#[test]
fn the_settings_page_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide/settings.md");
    let page = settings_page();
    if std::env::var_os("UPDATE_PAGES").is_some() {
        std::fs::write(&path, &page).expect("the page is writable");
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stored == page,
        "docs/guide/settings.md is old: run `UPDATE_PAGES=1 cargo test -p vermilion-server settings`"
    );
}

#[test]
fn sizes_and_times_with_which_nothing_could_work_are_refused() {
    for (name, text, words) in [
        ("log_bytes_max", "4", "at least 1024 KiB"),
        ("body_bytes_max", "40", "at least 1 KiB"),
        ("memory_bytes", "384", "at least 64 KiB"),
        ("answer_bytes_max", "1", "at least 64 KiB"),
        ("read_timeout", "0ms", "at least 10ms"),
        ("body_timeout", "0s", "at least 10ms"),
    ] {
        let mut settings = Settings::default();
        settings.say(name, text, Source::Flag).expect("known");
        let values = settings.values().expect("readable");
        let error = values.validate(false).expect_err(name);
        assert!(
            error.message.contains(name) && error.message.contains(words),
            "{error}"
        );
    }
}
