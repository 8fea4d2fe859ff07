//! message/sipfrag bodies (RFC 3420) as REFER's NOTIFY carries them (RFC 3515 section 2.4.5).

/// Status code of the fragment's status line.
pub fn status(_body: &[u8]) -> Option<u16> {
    todo!()
}
