//! Access tokens: JWT, HS256 and nothing else.

use chatlab_kit::{
    ids::{SessionId, UserId},
    wire::ErrorCode,
};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode, errors::ErrorKind,
    get_current_timestamp,
};
use serde::{Deserialize, Serialize};

use super::{ServiceError, ServiceResult};

/// The longest token that is looked at, in bytes.
pub const MAX_TOKEN_BYTES: usize = 1024;
/// The shortest secret that is accepted, in bytes: as long as the hash (RFC 7518 §3.2).
pub const MIN_SECRET_BYTES: usize = 32;

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    sub: UserId,
    sid: String,
    iat: u64,
    exp: u64,
}

/// Whom a verified token is for. Whether the session still lives is another question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    /// The login session; the user is part of it.
    pub session: SessionId,
    /// When the token ends, in seconds since 1970.
    pub expires_s: u64,
}

/// Mints and verifies.
pub struct Tokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
    ttl_s: u64,
}

impl Tokens {
    /// With a secret of at least [`MIN_SECRET_BYTES`]; tokens live `ttl_s` seconds.
    ///
    /// # Errors
    /// `invalid` for a shorter secret.
    pub fn new(secret: &[u8], ttl_s: u64) -> ServiceResult<Self> {
        if secret.len() < MIN_SECRET_BYTES {
            return Err(ServiceError::invalid(format!(
                "the token secret is shorter than {MIN_SECRET_BYTES} bytes"
            )));
        }
        // An `Err` says that the provider is installed already, which is what is wanted.
        let _ = jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER.install_default();
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        validation.set_required_spec_claims(&["exp", "sub"]);
        Ok(Self {
            encoding: EncodingKey::from_secret(secret),
            decoding: DecodingKey::from_secret(secret),
            validation,
            ttl_s,
        })
    }

    /// How long a new token lives, in seconds.
    pub fn ttl_s(&self) -> u64 {
        self.ttl_s
    }

    /// A token for a session.
    ///
    /// # Errors
    /// `internal` when signing fails.
    pub fn mint(&self, session: &SessionId) -> ServiceResult<String> {
        let iat = get_current_timestamp();
        let claims =
            Claims { sub: session.user, sid: session.secret(), iat, exp: iat.saturating_add(self.ttl_s) };
        encode(&Header::new(Algorithm::HS256), &claims, &self.encoding).map_err(ServiceError::internal)
    }

    /// Whom a token is for.
    ///
    /// # Errors
    /// `token_expired`, or `unauthorized` for everything else that is wrong with it.
    pub fn verify(&self, token: &str) -> ServiceResult<Bearer> {
        let refuse = || ServiceError::new(ErrorCode::Unauthorized, "the token is not valid");
        if token.len() > MAX_TOKEN_BYTES {
            return Err(refuse());
        }
        let claims = decode::<Claims>(token, &self.decoding, &self.validation)
            .map_err(|e| match e.kind() {
                ErrorKind::ExpiredSignature => expired(),
                _ => refuse(),
            })?
            .claims;
        let session = SessionId::from_parts(claims.sub, &claims.sid).map_err(|_| refuse())?;
        Ok(Bearer { session, expires_s: claims.exp })
    }
}

/// The refusal of a token whose time is over.
pub fn expired() -> ServiceError {
    ServiceError::new(ErrorCode::TokenExpired, "the token's time is over, log in again")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

    #[test]
    fn a_token_names_its_session_until_it_ends() {
        let tokens = Tokens::new(SECRET, 60).unwrap();
        let session = SessionId::new(UserId::new());
        let bearer = tokens.verify(&tokens.mint(&session).unwrap()).unwrap();
        assert_eq!(bearer.session, session);
    }

    #[test]
    fn forged_foreign_and_unsigned_tokens_are_refused() {
        let tokens = Tokens::new(SECRET, 60).unwrap();
        let foreign = Tokens::new(b"another secret of thirty-two byte", 60).unwrap();
        let session = SessionId::new(UserId::new());
        let good = tokens.mint(&session).unwrap();
        let payload = good.split('.').nth(1).unwrap();
        // {"alg":"none"}
        let unsigned = format!("eyJhbGciOiJub25lIn0.{payload}.");
        let cut = good[..good.len() - 2].to_owned();
        for bad in ["", "a.b.c", &unsigned, &cut, &foreign.mint(&session).unwrap(), &"x".repeat(2000)] {
            assert_eq!(tokens.verify(bad).unwrap_err().code, ErrorCode::Unauthorized, "{bad}");
        }
    }

    #[test]
    fn an_expired_token_says_so() {
        let tokens = Tokens::new(SECRET, 60).unwrap();
        let claims = Claims {
            sub: UserId::new(),
            sid: SessionId::new(UserId::new()).secret(),
            iat: 1,
            exp: get_current_timestamp() - 1,
        };
        let old = encode(&Header::new(Algorithm::HS256), &claims, &tokens.encoding).unwrap();
        assert_eq!(tokens.verify(&old).unwrap_err().code, ErrorCode::TokenExpired);
    }
}
