//! The client's side: credentials for a challenge.

use std::fmt::Write;

use super::hash::response;
use super::params::quote;
use super::{Ha1, OfferedChallenge};

/// What goes into an answer beside the challenge.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    pub user: &'a str,
    /// Made for the challenge's realm and algorithm: [`Ha1::new`].
    pub ha1: &'a Ha1,
    pub method: &'a str,
    /// The Request-URI.
    pub uri: &'a str,
    /// Fresh and unpredictable; no quote or backslash in it.
    pub cnonce: &'a str,
    /// How many requests were sent with the challenge's nonce, this one counted.
    pub nc: u32,
}

impl Answer<'_> {
    /// The value of Authorization (for a 401) or Proxy-Authorization (for a 407).
    #[must_use]
    pub fn header(&self, challenge: &OfferedChallenge<'_>) -> String {
        let mut out = String::with_capacity(320);
        out.push_str("Digest username=");
        quote(self.user, &mut out);
        out.push_str(", realm=");
        quote(&challenge.realm, &mut out);
        let nc = format!("{:08x}", self.nc);
        let counted = challenge.auth.then(|| [nc.as_bytes(), self.cnonce.as_bytes(), b"auth".as_slice()]);
        let session;
        let ha1 = if challenge.session {
            session = self.ha1.session(challenge.nonce, self.cnonce);
            &session
        } else {
            self.ha1
        };
        let response = response(ha1, challenge.nonce, counted, self.method, self.uri);
        // Writing into a String cannot fail.
        let _ = write!(
            out,
            ", nonce=\"{}\", uri=\"{}\", response=\"{}\", algorithm={}{}",
            challenge.nonce,
            self.uri,
            response.as_str(),
            challenge.algorithm.as_str(),
            if challenge.session { "-sess" } else { "" }
        );
        if challenge.auth {
            let _ = write!(out, ", cnonce=\"{}\", qop=auth, nc={nc}", self.cnonce);
        }
        if let Some(opaque) = challenge.opaque {
            let _ = write!(out, ", opaque=\"{opaque}\"");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::super::Algorithm;
    use super::*;

    #[test]
    fn the_answer_to_rfc_2617s_challenge_is_its_own() {
        let challenge = OfferedChallenge::parse(
            b"Digest realm=\"testrealm@host.com\", qop=\"auth,auth-int\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"",
        )
        .unwrap();
        let ha1 = Ha1::new(Algorithm::Md5, "Mufasa", &challenge.realm, "Circle Of Life");
        let answer =
            Answer { user: "Mufasa", ha1: &ha1, method: "GET", uri: "/dir/index.html", cnonce: "0a4f113b", nc: 1 }.header(&challenge);
        assert!(answer.contains("response=\"6629fae49393a05397450978507c4ef1\""), "{answer}");
        assert!(answer.contains("nc=00000001") && answer.contains("opaque=\"5ccc069c403ebaf9f0171e9517f40e41\""), "{answer}");
    }

    #[test]
    fn a_challenge_without_qop_is_answered_as_rfc_2069_has_it() {
        let challenge =
            OfferedChallenge::parse(b"Digest realm=\"testrealm@host.com\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\"").unwrap();
        let ha1 = Ha1::new(Algorithm::Md5, "Mufasa", &challenge.realm, "CircleOfLife");
        let answer =
            Answer { user: "Mufasa", ha1: &ha1, method: "GET", uri: "/dir/index.html", cnonce: "unused", nc: 1 }.header(&challenge);
        // The corrected value of RFC 2069's example (its erratum 749).
        assert!(answer.contains("response=\"1949323746fe6a43ef61f9606e7febea\""), "{answer}");
        assert!(!answer.contains("cnonce") && !answer.contains("qop"), "{answer}");
    }

    /// RFC 7616 section 3.9.1. The RFC has no example of `-sess`: those two were computed from section 3.4.2 by other means.
    #[test]
    fn the_answers_to_rfc_7616s_challenges_are_its_own() {
        for (algorithm, expected) in [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
            ("MD5-sess", "e783283f46242139c486a698fec7211d"),
            ("SHA-256-sess", "2fd51b3a77ad75bad6afad6003e818d767133c46d9e2749e7f5232ae1ea3efd7"),
        ] {
            let text = format!(
                "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm={algorithm}, \
                 nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
            );
            let challenge = OfferedChallenge::parse(text.as_bytes()).unwrap();
            let ha1 = Ha1::new(challenge.algorithm, "Mufasa", &challenge.realm, "Circle of Life");
            let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
            let answer = Answer { user: "Mufasa", ha1: &ha1, method: "GET", uri: "/dir/index.html", cnonce, nc: 1 }.header(&challenge);
            assert!(answer.contains(&format!("response=\"{expected}\", algorithm={algorithm}, ")), "{answer}");
        }
    }
}
