//! API keys, roles and scopes: every route against every kind of key, over real connections.

use std::path::Path;

use serde_json::{Value, json};
use vermilion_server::access::keys::KeyFile;
use vermilion_server::access::{Role, Scope};

use crate::harness::{Answer, TestServer};

/// Routes that anybody may use.
const OPEN: [&str; 8] = [
    "/",
    "/healthz",
    "/readyz",
    "/api/v2",
    "/api/v2/heartbeat",
    "/api/v2/healthcheck",
    "/api/v2/version",
    "/api/v2/pre-flight-checks",
];
/// Routes that any key may use.
const ANY_KEY: [&str; 6] = [
    "/docs",
    "/docs/",
    "/openapi.json",
    "/local-socket",
    "/api/v2/auth/identity",
    "/api/v2/collections/{crn}",
];
/// The last parts of paths whose POST only looks.
const LOOKS: [&str; 7] = [
    "/get",
    "/query",
    "/count",
    "/search",
    "/conditional/get",
    "/recommendations",
    "/assess",
];

/// A server that asks for keys, and the keys.
struct Guarded {
    server: TestServer,
    keys: Vec<Key>,
    folder: tempfile::TempDir,
}

struct Key {
    secret: String,
    role: Role,
    tenant: Option<&'static str>,
    database: Option<&'static str>,
}

fn scope(tenant: Option<&str>, database: Option<&str>) -> Scope {
    Scope {
        tenant: tenant.map(str::to_owned),
        databases: database.map(str::to_owned).into_iter().collect(),
    }
}

fn key_file(folder: &Path) -> KeyFile {
    KeyFile::open_or_new(&folder.join("keys.json")).unwrap()
}

fn guarded() -> Guarded {
    let folder = tempfile::tempdir().unwrap();
    let mut file = key_file(folder.path());
    let mut keys = Vec::new();
    let places = [
        (None, None),
        (Some("default_tenant"), None),
        (Some("default_tenant"), Some("default_database")),
        (Some("default_tenant"), Some("other_database")),
        (Some("other_tenant"), None),
    ];
    for (number, (tenant, database)) in places.into_iter().enumerate() {
        for role in [Role::Read, Role::Write, Role::Admin] {
            let name = format!("k{number}-{}", role.name());
            let secret = file.create(&name, role, scope(tenant, database)).unwrap();
            keys.push(Key {
                secret,
                role,
                tenant,
                database,
            });
        }
    }
    let path = folder.path().join("keys.json");
    let audit = folder.path().join("audit.jsonl");
    let server = TestServer::with(|config| {
        config.access_file = Some(path);
        config.audit_file = Some(audit);
    });
    Guarded {
        server,
        keys,
        folder,
    }
}

fn send(server: &TestServer, method: &str, path: &str, secret: Option<&str>) -> Answer {
    let bearer = secret.map(|secret| format!("authorization: Bearer {secret}"));
    let mut headers = vec!["content-type: application/json"];
    headers.extend(bearer.as_deref());
    let method = method.to_uppercase();
    let body: &[u8] = if method == "GET" { b"" } else { b"{}" };
    server.connect().request(&method, path, &headers, body)
}

/// What the rules of the documentation say of a key and a route, without looking at the table.
fn may(key: &Key, method: &str, route: &str) -> bool {
    if OPEN.contains(&route) || ANY_KEY.contains(&route) {
        return true;
    }
    let looks = method == "get" || LOOKS.iter().any(|end| route.ends_with(end));
    let whole_server = key.tenant.is_none();
    let own_tenant = key.tenant.is_none_or(|tenant| tenant == "default_tenant");
    let own_database = key.database.is_none_or(|name| name == "default_database");
    let needed = |otherwise: Role| if looks { Role::Read } else { otherwise };
    // Without names in the path, the default ones are meant.
    let of_curation = route.starts_with("/curation/");
    let service = ["/v1/status", "/v1/service/", "/v1/jobs"];
    let of_server = of_curation && service.iter().any(|part| route.contains(part));
    if route.contains("/databases/{database}") || (of_curation && !of_server) {
        let itself = route.ends_with("/databases/{database}");
        let role = needed(if itself { Role::Admin } else { Role::Write });
        return own_tenant && own_database && key.role >= role;
    }
    if route.starts_with("/api/v2/tenants/{tenant}") {
        let itself = route.ends_with("{tenant}") && looks;
        let whole = itself || key.database.is_none();
        return own_tenant && whole && key.role >= needed(Role::Admin);
    }
    whole_server && key.role >= needed(Role::Admin)
}

/// Every method and path of the server, with the names filled in.
fn routes(server: &TestServer, secret: &str) -> Vec<(String, String, String)> {
    let document = send(server, "get", "/openapi.json", Some(secret)).json();
    let mut routes = Vec::new();
    for (route, operations) in document["paths"].as_object().unwrap() {
        let path = route
            .replace("{tenant}", "default_tenant")
            .replace("{database}", "default_database")
            .replace("{collection_id}", "00000000-0000-4000-8000-000000000000")
            .replace("{component}", "maintenance")
            .replace("{job}", "scrub")
            .replace("{crn}", "a:b:c")
            .replace("{function}", "f")
            .replace("{space}", "s")
            .replace("{record}", "r")
            .replace("{retraining}", "0-1")
            .replace("{trigger}", "t")
            .replace("{dataset}", "d")
            .replace("{file}", "f");
        assert!(
            !path.contains('{'),
            "the test does not know a name of {route}"
        );
        for method in operations.as_object().unwrap().keys() {
            routes.push((method.clone(), route.clone(), path.clone()));
        }
    }
    assert!(routes.len() > 50);
    routes
}

#[test]
fn every_route_refuses_who_has_no_key_and_whoever_may_not() {
    let Guarded { server, keys, .. } = guarded();
    let whole = keys
        .iter()
        .find(|key| key.tenant.is_none() && key.role == Role::Read);
    let wrong = format!("{}x", whole.unwrap().secret);
    for (method, route, path) in routes(&server, &whole.unwrap().secret) {
        for secret in [None, Some(""), Some(wrong.as_str())] {
            let answer = send(&server, &method, &path, secret);
            let refused = answer.status == 401;
            assert_eq!(refused, !OPEN.contains(&route.as_str()), "{method} {route}");
            if refused {
                assert!(answer.header("www-authenticate").is_some());
            }
        }
        for key in &keys {
            let answer = send(&server, &method, &path, Some(&key.secret));
            let refused = answer.status == 403 && answer.text().contains("takes the role");
            let who = format!("{:?} of {:?} {:?}", key.role, key.tenant, key.database);
            assert_ne!(answer.status, 401, "{who} on {method} {route}");
            assert_eq!(
                !refused,
                may(key, &method, &route),
                "{who} on {method} {route}: {}",
                answer.text()
            );
        }
    }
}

#[test]
fn what_is_out_of_reach_looks_the_same_whether_it_is_there_or_not() {
    let Guarded { server, keys, .. } = guarded();
    let other = keys
        .iter()
        .find(|key| key.tenant == Some("other_tenant"))
        .unwrap();
    let ask = |tenant: &str| {
        let path = format!("/api/v2/tenants/{tenant}/databases/default_database/collections");
        let answer = send(&server, "get", &path, Some(&other.secret));
        (answer.status, answer.text().to_owned())
    };
    assert_eq!(ask("default_tenant"), ask("no_such_tenant"));
}

#[test]
fn a_collection_is_found_by_its_resource_name_where_the_key_reaches_it() {
    let Guarded { server, keys, .. } = guarded();
    let whole = &keys[2];
    let prepare = |method: &str, path: &str, body: &Value| {
        let bearer = format!("authorization: Bearer {}", whole.secret);
        let body = body.to_string();
        let answer = server
            .connect()
            .request(method, path, &[&bearer], body.as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    let tenant = "/api/v2/tenants/default_tenant";
    prepare("PATCH", tenant, &json!({"resource_name": "mine"}));
    let database = format!("{tenant}/databases/default_database/collections");
    prepare("POST", &database, &json!({"name": "things"}));
    for key in &keys {
        let ask = |crn: &str| {
            let path = format!("/api/v2/collections/{crn}");
            let answer = send(&server, "get", &path, Some(&key.secret));
            (answer.status, answer.text().replace(crn, ""))
        };
        let there = ask("mine:default_database:things");
        if key.tenant != Some("other_tenant") && key.database != Some("other_database") {
            assert_eq!(there.0, 200, "{}", there.1);
        } else {
            assert_eq!(there, ask("mine:default_database:nothing"));
            assert_eq!(there, ask("nobody:default_database:things"));
            assert_eq!(there.0, 404, "{}", there.1);
        }
    }
}

#[test]
fn names_in_headers_reach_no_farther_than_names_in_the_path() {
    let Guarded { server, keys, .. } = guarded();
    let of_one = keys.iter().find(|key| key.database.is_some()).unwrap();
    let bearer = format!("authorization: Bearer {}", of_one.secret);
    let ask = |headers: &[&str]| {
        let headers = [&[bearer.as_str()], headers].concat();
        let answer = server
            .connect()
            .request("GET", "/curation/v1/spaces", &headers, b"");
        if answer.status == 403 {
            // In the form of all refusals of curation.
            let told = answer.json();
            assert_eq!(
                (&told["error"], &told["field"]),
                (&json!("forbidden"), &json!(null))
            );
        }
        answer.status
    };
    let nobody = server.get("/curation/v1/spaces");
    assert_eq!(
        (nobody.status, &nobody.json()["error"]),
        (401, &json!("no_key"))
    );
    assert_eq!(ask(&[]), 200);
    assert_eq!(ask(&["x-vermilion-database: other"]), 403);
    assert_eq!(ask(&["x-vermilion-tenant: other"]), 403);
}

#[test]
fn a_body_is_not_read_before_the_key_was_checked() {
    let Guarded { server, .. } = guarded();
    let mut connection = server.connect();
    let head = "POST /api/v2/reset HTTP/1.1\r\nhost: test\r\ncontent-length: 1000000\r\n\r\n";
    std::io::Write::write_all(connection.stream.get_mut(), head.as_bytes()).unwrap();
    assert_eq!(connection.answer().status, 401);
}

#[test]
fn identity_tells_the_key_and_its_scope() {
    let Guarded { server, keys, .. } = guarded();
    let ask = |key: &Key| send(&server, "get", "/api/v2/auth/identity", Some(&key.secret)).json();
    let expected = [
        json!({"user_id": "k0-read", "tenant": "*", "databases": ["*"]}),
        json!({"user_id": "k1-read", "tenant": "default_tenant", "databases": ["*"]}),
        json!({"user_id": "k2-read", "tenant": "default_tenant", "databases": ["default_database"]}),
    ];
    for (number, expected) in expected.iter().enumerate() {
        assert_eq!(&ask(&keys[number * 3]), expected);
    }
}

#[test]
fn the_audit_log_holds_changes_and_refusals_and_no_secret() {
    let Guarded {
        mut server,
        keys,
        folder,
    } = guarded();
    let secret = &keys[1].secret;
    let path = "/api/v2/tenants/default_tenant/databases/default_database/collections";
    let mut connection = server.connect();
    let bearer = format!("authorization: Bearer {secret}");
    let headers = [
        "content-type: application/json",
        "x-request-id: mine",
        &bearer,
    ];
    let made = connection.request("POST", path, &headers, br#"{"name":"audited"}"#);
    assert_eq!(made.status, 200, "{}", made.text());
    assert_eq!(send(&server, "get", path, Some(secret)).status, 200);
    assert_eq!(
        send(&server, "post", "/api/v2/reset", Some(secret)).status,
        403
    );
    assert_eq!(send(&server, "get", path, Some("wrong")).status, 401);
    drop(connection);
    server.wait().unwrap();
    drop(server);
    let text = std::fs::read_to_string(folder.path().join("audit.jsonl")).unwrap();
    assert!(!text.contains(secret.as_str()) && !text.contains("wrong"));
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let what: Vec<_> = lines
        .iter()
        .map(|line| {
            (
                line["key"].as_str(),
                line["action"].as_str().unwrap(),
                line["status"].as_u64(),
            )
        })
        .collect();
    let expected = [
        (Some("k0-write"), "create_collection", Some(200)),
        (Some("k0-write"), "reset", Some(403)),
        (None, "list_collections", Some(401)),
    ];
    assert_eq!(what, expected);
    assert_eq!(lines[0]["request"], "mine");
    assert_eq!(lines[0]["database"], "default_database");
    assert!(lines[0]["from"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert!(lines[0]["time"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn a_changed_file_is_read_again_and_a_broken_one_changes_nothing() {
    let Guarded {
        server,
        keys,
        folder,
    } = guarded();
    let status = |secret: &str| send(&server, "get", "/api/v2/auth/identity", Some(secret)).status;
    let until = |secret: &str, expected: u16| {
        let begun = std::time::Instant::now();
        while status(secret) != expected {
            assert!(
                begun.elapsed().as_secs() < 20,
                "the file was not read again"
            );
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    };
    let mut file = key_file(folder.path());
    let new = file.create("new", Role::Read, Scope::default()).unwrap();
    until(&new, 200);
    file.revoke("k0-read").unwrap();
    until(&keys[0].secret, 401);
    std::fs::write(folder.path().join("keys.json"), "{").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(2500));
    assert_eq!((status(&new), status(&keys[0].secret)), (200, 401));
}

#[test]
fn a_tenant_that_sends_too_much_is_told_to_wait() {
    let server = TestServer::with(|config| {
        config.tenant_requests_max = std::num::NonZeroUsize::new(3);
    });
    let path = "/api/v2/tenants/default_tenant";
    let answers: Vec<Answer> = (0..40).map(|_| server.get(path)).collect();
    assert_eq!(answers[0].status, 200);
    let refused = answers.iter().find(|answer| answer.status == 429);
    assert_eq!(refused.unwrap().header("retry-after"), Some("1"));
    assert_eq!(
        server.get("/api/v2/heartbeat").status,
        200,
        "no tenant is named"
    );
}

#[test]
fn a_lookup_by_resource_name_counts_for_the_tenant_that_has_it() {
    let server = TestServer::with(|config| {
        config.tenant_requests_max = std::num::NonZeroUsize::new(3);
    });
    let body = json!({"resource_name": "mine"});
    let tenant = "/api/v2/tenants/default_tenant";
    server.send("PATCH", tenant, Some(&body)).is(200, "{}");
    server.collection("notes");
    let path = "/api/v2/collections/mine:default_database:notes";
    let statuses: Vec<u16> = (0..40).map(|_| server.get(path).status).collect();
    assert!(
        statuses.contains(&200) && statuses.contains(&429),
        "{statuses:?}"
    );
}

#[cfg(feature = "tls")]
mod tls {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_rustls::TlsConnector;
    use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};
    use vermilion_engine::{Config, Database};
    use vermilion_server::{Server, ServerConfig, TlsFiles};

    use crate::harness::TestServer;

    fn write_certificate(folder: &std::path::Path) -> (TlsFiles, CertificateDer<'static>) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let files = TlsFiles {
            certificate: folder.join("certificate.pem"),
            key: folder.join("key.pem"),
        };
        std::fs::write(&files.certificate, made.cert.pem()).unwrap();
        std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        (files, made.cert.der().clone())
    }

    #[test]
    fn requests_are_answered_over_encrypted_connections_only() {
        let folder = tempfile::tempdir().unwrap();
        let (files, certificate) = write_certificate(folder.path());
        let server = TestServer::with(|config| config.tls = Some(files));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let ask = |request: &'static [u8]| {
            runtime.block_on(async {
                let mut roots = RootCertStore::empty();
                roots.add(certificate.clone()).unwrap();
                let config = ClientConfig::builder()
                    .with_root_certificates(roots)
                    .with_no_client_auth();
                let stream = tokio::net::TcpStream::connect(server.address)
                    .await
                    .unwrap();
                let name = ServerName::try_from("localhost").unwrap();
                let connector = TlsConnector::from(Arc::new(config));
                let mut stream = connector.connect(name, stream).await.unwrap();
                stream.write_all(request).await.unwrap();
                let mut answer = Vec::new();
                stream.read_to_end(&mut answer).await.unwrap();
                String::from_utf8(answer).unwrap()
            })
        };
        let answer = ask(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let answers = ask(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\nbroken\r\n\r\n");
        assert!(answers.starts_with("HTTP/1.1 200"), "{answers}");
        let refusal = answers.split("HTTP/1.1 400 Bad Request\r\n").nth(1);
        let body = refusal.and_then(|refusal| refusal.split("\r\n\r\n").nth(1));
        let error: serde_json::Value = serde_json::from_str(body.unwrap()).unwrap();
        assert_eq!(error["error"], "InvalidArgumentError", "{error}");
        let mut plain = server.connect();
        let request = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
        std::io::Write::write_all(plain.stream.get_mut(), request).unwrap();
        let mut answer = Vec::new();
        let _ = std::io::Read::read_to_end(&mut plain.stream, &mut answer);
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    }

    #[tokio::test]
    async fn a_certificate_that_is_none_stops_the_start_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let (files, _) = write_certificate(folder.path());
        std::fs::write(&files.certificate, "nothing").unwrap();
        let config = ServerConfig {
            port: 0,
            tls: Some(files),
            ..ServerConfig::default()
        };
        let database = Arc::new(Database::open(Config::in_memory()).unwrap());
        let error = Server::bind(config, database)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("certificate.pem") && error.contains("no certificate"),
            "{error}"
        );
    }
}
