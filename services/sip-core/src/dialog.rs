//! Dialogs that recalls make: REFER's implicit subscription (RFC 3515, RFC 6665).
