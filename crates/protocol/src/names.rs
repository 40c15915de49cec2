//! The rules for names of tenants, databases and collections, in the words clients know.

use std::net::IpAddr;

use crate::ApiError;

/// Characters of the shortest name of anything.
const NAME_MIN: usize = 3;
/// Characters of the longest name.
const LENGTH_MAX: usize = 512;

/// Says what is wrong with the name of a database or collection, if anything.
///
/// One `+` may part a topology from a name; both must then be names.
pub fn problem_of_name(name: &str) -> Option<String> {
    let Some((topology, rest)) = name.split_once('+') else {
        return problem_of_part(name);
    };
    if name.len() > LENGTH_MAX {
        return Some(format!(
            "Expected a name containing 3-512 characters. Got: {}",
            name.len()
        ));
    }
    if rest.contains('+') {
        return Some(
            "Expected a name to contain at most one topology:  Got two `+` characters.".to_owned(),
        );
    }
    problem_of_part(topology).or_else(|| problem_of_part(rest))
}

fn problem_of_part(name: &str) -> Option<String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let bytes = name.as_bytes();
    let ends = [bytes.first(), bytes.last()]
        .iter()
        .all(|end| end.is_some_and(u8::is_ascii_alphanumeric));
    if !ends
        || !(NAME_MIN..=LENGTH_MAX).contains(&bytes.len())
        || !bytes.iter().all(|&b| allowed(b))
    {
        return Some(format!(
            "Expected a name containing 3-512 characters from [a-zA-Z0-9._-], starting and ending \
             with a character in [a-zA-Z0-9]. Got: {name}"
        ));
    }
    if name.contains("..") {
        return Some(format!(
            "Expected a name that does not contains two consecutive periods (..). Got {name}"
        ));
    }
    if name.parse::<IpAddr>().is_ok() {
        return Some(format!(
            "Expected a name that is not a valid ip address. Got {name}"
        ));
    }
    None
}

/// Checks the name of a collection that came as `member` of a request.
pub fn check_collection_name(member: &str, name: &str) -> Result<(), ApiError> {
    match problem_of_name(name) {
        None => Ok(()),
        Some(problem) => Err(ApiError::validation(member, problem)),
    }
}

/// Checks the name of a database.
pub fn check_database_name(name: &str) -> Result<(), ApiError> {
    match problem_of_name(name) {
        None => Ok(()),
        Some(problem) => Err(ApiError::invalid(problem)),
    }
}

/// Checks the name of a database that is asked for: no database has a shorter one.
pub fn check_asked_database(name: &str) -> Result<(), ApiError> {
    if name.chars().count() >= NAME_MIN {
        return Ok(());
    }
    Err(ApiError::invalid(format!(
        "database name must be at least {NAME_MIN} characters"
    )))
}

/// Checks the name of a tenant: any characters, three at least.
pub fn check_tenant_name(name: &str) -> Result<(), ApiError> {
    if name.chars().count() >= NAME_MIN {
        return Ok(());
    }
    let quoted = serde_json::Value::from(name);
    Err(ApiError::validation(
        "name",
        format_args!(
            "Validation error: length [{{\"min\": Number(3), \"value\": String({quoted})}}]"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_names_pass() {
        let long = "a".repeat(512);
        for name in [
            "abc",
            "a.b-c_D9",
            "topology+database",
            "1.2.3",
            "1.2.3.4.5",
            &long,
        ] {
            assert_eq!(problem_of_name(name), None, "{name}");
        }
    }

    #[test]
    fn bad_names_are_refused_in_the_words_clients_match() {
        let long = "a".repeat(513);
        let plus = format!("{}+{}", "a".repeat(300), "b".repeat(300));
        let table = [
            ("", "Expected a name containing 3-512 characters from"),
            ("ab", "Expected a name containing 3-512 characters from"),
            (&long, "Expected a name containing 3-512 characters from"),
            ("-abc", "Expected a name containing 3-512 characters from"),
            ("abc.", "Expected a name containing 3-512 characters from"),
            ("a b c", "Expected a name containing 3-512 characters from"),
            ("naïve", "Expected a name containing 3-512 characters from"),
            (
                "a..b",
                "does not contains two consecutive periods (..). Got a..b",
            ),
            ("10.0.0.1", "not a valid ip address. Got 10.0.0.1"),
            ("ab+abc", "Expected a name containing 3-512 characters from"),
            ("abc+ab", "Expected a name containing 3-512 characters from"),
            ("a+b+c", "at most one topology"),
            (
                &plus,
                "Expected a name containing 3-512 characters. Got: 601",
            ),
        ];
        for (name, expected) in table {
            let problem = problem_of_name(name).unwrap();
            assert!(problem.contains(expected), "{name}: {problem}");
        }
    }

    #[test]
    fn names_of_tenants_may_be_anything_of_three_characters() {
        assert!(check_tenant_name("hello world !").is_ok());
        assert!(check_tenant_name("äöü").is_ok());
        assert_eq!(
            check_tenant_name("ab").unwrap_err().message,
            "Validation error: name: Validation error: length \
             [{\"min\": Number(3), \"value\": String(\"ab\")}]"
        );
    }

    #[test]
    fn databases_are_asked_for_by_names_of_three_characters_at_least() {
        assert!(check_asked_database("abc").is_ok());
        let error = check_asked_database("ab").unwrap_err();
        assert_eq!(error.message, "database name must be at least 3 characters");
    }

    #[test]
    fn names_of_collections_say_which_member_is_wrong() {
        let error = check_collection_name("new_name", "a").unwrap_err();
        assert!(
            error
                .message
                .starts_with("Validation error: new_name: Expected a name")
        );
        assert_eq!(error.status, 400);
        let error = check_database_name("a").unwrap_err();
        assert!(error.message.starts_with("Expected a name"));
    }
}
