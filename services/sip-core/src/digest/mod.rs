//! Digest access authentication: RFC 7616, RFC 8760; SHA-256 and MD5, qop=auth.
//!
//! Nonces are keyed hashes of time and source, so any edge that shares the secret can check them and no edge keeps a list.
//!
//! Server: [`Challenge`] with a [`nonce::issue`]d nonce goes out; [`Credentials::parse`], [`nonce::check`], [`Credentials::is_for`] and [`verify`] judge
//! what comes back. Client: [`Client`] follows the challenges of one request; [`OfferedChallenge::parse`] and [`Answer`] are its parts.
//!
//! Only qop=auth is accepted: without qop (RFC 2069) the response covers neither a client nonce nor a count, so that who chooses the nonce can look it
//! up in a table, and every phone in use knows qop. auth-int is not offered, because proxies may change bodies (RFC 3261 section 22.4 note 8).

mod answer;
mod challenge;
mod client;
mod credentials;
mod hash;
pub mod nonce;
mod params;

pub use answer::Answer;
pub use challenge::{Challenge, OfferedChallenge};
pub use client::{Client, Login};
pub use credentials::{Credentials, CredentialsError, username_of};
pub use hash::{Algorithm, Ha1};

use hash::response;

/// Whether the credentials prove knowledge of `ha1`'s password for a request with this method. Constant in time over where a wrong response differs.
///
/// To be judged besides: the realm is ours, the nonce is fresh ([`nonce::check`]), the uri is the request's ([`Credentials::is_for`]).
#[must_use]
pub fn verify(credentials: &Credentials<'_>, method: &str, ha1: &Ha1) -> bool {
    let expected = response(
        ha1,
        credentials.nonce,
        Some([credentials.nc.as_bytes(), credentials.cnonce.as_bytes(), credentials.qop.as_bytes()]),
        method,
        credentials.uri,
    );
    ha1.algorithm() == credentials.algorithm
        && crate::keyed::same(expected.as_bytes(), credentials.response.to_ascii_lowercase().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 7616 section 3.9.1.
    const RFC_7616: &str = "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", uri=\"/dir/index.html\", algorithm=ALGORITHM, \
        nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", nc=00000001, cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", qop=auth, \
        response=\"RESPONSE\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"";

    fn rfc_7616(algorithm: &str, response: &str) -> String {
        RFC_7616.replace("ALGORITHM", algorithm).replace("RESPONSE", response)
    }

    #[test]
    fn the_vectors_of_rfc_7616_pass() {
        for (algorithm, name, response) in [
            (Algorithm::Md5, "MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            (Algorithm::Sha256, "SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let ha1 = Ha1::new(algorithm, "Mufasa", "http-auth@example.org", "Circle of Life");
            let value = rfc_7616(name, response);
            let credentials = Credentials::parse(value.as_bytes()).unwrap();
            assert!(verify(&credentials, "GET", &ha1));
            assert!(!verify(&credentials, "PUT", &ha1));
            assert!(!verify(&credentials, "GET", &Ha1::new(algorithm, "Mufasa", "http-auth@example.org", "circle of life")));
            let upper = rfc_7616(name, &response.to_uppercase());
            assert!(verify(&Credentials::parse(upper.as_bytes()).unwrap(), "GET", &ha1), "hexadecimal is read in either case");
        }
    }

    #[test]
    fn the_vector_of_rfc_2617_passes() {
        let value = "Digest username=\"Mufasa\", realm=\"testrealm@host.com\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", uri=\"/dir/index.html\", \
            qop=auth, nc=00000001, cnonce=\"0a4f113b\", response=\"6629fae49393a05397450978507c4ef1\", opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"";
        let ha1 = Ha1::new(Algorithm::Md5, "Mufasa", "testrealm@host.com", "Circle Of Life");
        assert!(verify(&Credentials::parse(value.as_bytes()).unwrap(), "GET", &ha1));
        assert_eq!(ha1, Ha1::from_hex("939e7578ed9e3c518a452acee763bce9").unwrap());
    }

    #[test]
    fn a_hash_of_the_other_algorithm_never_passes() {
        let value = rfc_7616("MD5", "8ca523f5e9506fed4657c9700eebdbec");
        let ha1 = Ha1::new(Algorithm::Sha256, "Mufasa", "http-auth@example.org", "Circle of Life");
        assert!(!verify(&Credentials::parse(value.as_bytes()).unwrap(), "GET", &ha1));
    }

    fn algorithms() -> impl Strategy<Value = Algorithm> {
        prop_oneof![Just(Algorithm::Md5), Just(Algorithm::Sha256)]
    }

    proptest! {
        #[test]
        fn every_answer_to_our_challenge_passes_and_nothing_else(
            algorithm in algorithms(), user in "[ -~äß]{1,12}", realm in "[a-z.\"\\\\ ]{1,12}", password in "\\PC{0,12}", cnonce in "[a-zA-Z0-9+/=]{1,20}",
            nc in 1_u32.., stale: bool, wrong in "\\PC{0,12}",
        ) {
            let text = Challenge { realm: &realm, nonce: "bm9uY2U", algorithm, stale }.to_string();
            let challenge = OfferedChallenge::parse(text.as_bytes()).unwrap();
            let ha1 = Ha1::new(algorithm, &user, &realm, &password);
            let answer = Answer { user: &user, ha1: &ha1, method: "REGISTER", uri: "sip:example.com", cnonce: &cnonce, nc };
            let value = answer.header(&challenge);
            let credentials = Credentials::parse(value.as_bytes()).unwrap();
            prop_assert_eq!(&*credentials.username, &*user);
            prop_assert_eq!(&*credentials.realm, &*realm);
            prop_assert_eq!(challenge.stale, stale);
            prop_assert!(verify(&credentials, "REGISTER", &ha1));
            prop_assert!(!verify(&credentials, "INVITE", &ha1));
            prop_assert_eq!(verify(&credentials, "REGISTER", &Ha1::new(algorithm, &user, &realm, &wrong)), wrong == password);
        }
    }
}
