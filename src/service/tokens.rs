//! Access and refresh tokens: JWT, HS256 and nothing else. Neither is good for what the other is for.

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

/// What a token is for, its `aud` (RFC 7519 §4.1.3).
const ACCESS: &str = "access";
const REFRESH: &str = "refresh";

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    sub: UserId,
    sid: String,
    aud: String,
    iat: u64,
    exp: u64,
    /// Of a refresh token: its number among those of the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    num: Option<u64>,
}

/// Whom a verified token is for. Whether the session still lives is another question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    /// The login session; the user is part of it.
    pub session: SessionId,
    /// When the token ends, in seconds since 1970.
    pub expires_s: u64,
}

/// A verified refresh token. Whether it is the session's newest is another question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refresh {
    /// The login session.
    pub session: SessionId,
    /// Its number among the session's.
    pub number: u64,
}

/// Mints and verifies.
pub struct Tokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    access: Validation,
    refresh: Validation,
    ttl_s: u64,
    refresh_ttl_s: u64,
}

impl Tokens {
    /// With a secret of at least [`MIN_SECRET_BYTES`]; access tokens live `ttl_s` seconds, refresh tokens `refresh_ttl_s`.
    ///
    /// # Errors
    /// `invalid` for a shorter secret.
    pub fn new(secret: &[u8], ttl_s: u64, refresh_ttl_s: u64) -> ServiceResult<Self> {
        if secret.len() < MIN_SECRET_BYTES {
            return Err(ServiceError::invalid(format!(
                "the token secret is shorter than {MIN_SECRET_BYTES} bytes"
            )));
        }
        // An `Err` says that the provider is installed already, which is what is wanted.
        let _ = jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER.install_default();
        Ok(Self {
            encoding: EncodingKey::from_secret(secret),
            decoding: DecodingKey::from_secret(secret),
            access: validation(ACCESS),
            refresh: validation(REFRESH),
            ttl_s,
            refresh_ttl_s,
        })
    }

    /// How long a new access token lives, in seconds.
    pub fn ttl_s(&self) -> u64 {
        self.ttl_s
    }

    /// How long a new refresh token lives, in seconds, if its session does.
    pub fn refresh_ttl_s(&self) -> u64 {
        self.refresh_ttl_s
    }

    /// An access token for a session.
    ///
    /// # Errors
    /// `internal` when signing fails.
    pub fn mint(&self, session: &SessionId) -> ServiceResult<String> {
        self.sign(session, ACCESS, self.ttl_s, None)
    }

    /// The refresh token of that number for a session.
    ///
    /// # Errors
    /// `internal` when signing fails.
    pub fn mint_refresh(&self, session: &SessionId, number: u64) -> ServiceResult<String> {
        self.sign(session, REFRESH, self.refresh_ttl_s, Some(number))
    }

    fn sign(&self, session: &SessionId, aud: &str, ttl_s: u64, num: Option<u64>) -> ServiceResult<String> {
        let iat = get_current_timestamp();
        let (sid, aud, exp) = (session.secret(), aud.to_owned(), iat.saturating_add(ttl_s));
        let claims = Claims { sub: session.user, sid, aud, iat, exp, num };
        encode(&Header::new(Algorithm::HS256), &claims, &self.encoding).map_err(ServiceError::internal)
    }

    /// Whom an access token is for.
    ///
    /// # Errors
    /// `token_expired`, or `unauthorized` for everything else that is wrong with it.
    pub fn verify(&self, token: &str) -> ServiceResult<Bearer> {
        let (session, claims) = self.open(token, &self.access)?;
        Ok(Bearer { session, expires_s: claims.exp })
    }

    /// Which refresh token of which session it is.
    ///
    /// # Errors
    /// `token_expired`, or `unauthorized` for everything else that is wrong with it.
    pub fn verify_refresh(&self, token: &str) -> ServiceResult<Refresh> {
        let (session, claims) = self.open(token, &self.refresh)?;
        Ok(Refresh { session, number: claims.num.ok_or_else(refused)? })
    }

    fn open(&self, token: &str, validation: &Validation) -> ServiceResult<(SessionId, Claims)> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(refused());
        }
        let claims = decode::<Claims>(token, &self.decoding, validation)
            .map_err(|e| match e.kind() {
                ErrorKind::ExpiredSignature => expired(),
                _ => refused(),
            })?
            .claims;
        let session = SessionId::from_parts(claims.sub, &claims.sid).map_err(|_| refused())?;
        Ok((session, claims))
    }
}

fn validation(aud: &str) -> Validation {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.leeway = 0;
    validation.set_required_spec_claims(&["exp", "sub", "aud"]);
    validation.set_audience(&[aud]);
    validation
}

fn refused() -> ServiceError {
    ServiceError::new(ErrorCode::Unauthorized, "the token is not valid")
}

/// The refusal of a token whose time is over.
pub fn expired() -> ServiceError {
    ServiceError::new(ErrorCode::TokenExpired, "the token's time is over, log in again")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> Tokens {
        Tokens::new(b"0123456789abcdef0123456789abcdef", 60, 600).unwrap()
    }

    #[test]
    fn a_token_names_its_session_until_it_ends() {
        let tokens = tokens();
        let session = SessionId::new(UserId::new());
        let bearer = tokens.verify(&tokens.mint(&session).unwrap()).unwrap();
        assert_eq!(bearer.session, session);
    }

    #[test]
    fn forged_foreign_and_unsigned_tokens_are_refused() {
        let tokens = tokens();
        let foreign = Tokens::new(b"another secret of thirty-two byte", 60, 60).unwrap();
        let session = SessionId::new(UserId::new());
        let good = tokens.mint(&session).unwrap();
        let payload = good.split('.').nth(1).unwrap();
        // {"alg":"none"}
        let unsigned = format!("eyJhbGciOiJub25lIn0.{payload}.");
        let cut = good[..good.len() - 2].to_owned();
        for bad in ["", "a.b.c", &unsigned, &cut, &foreign.mint(&session).unwrap(), &"x".repeat(2000)] {
            assert_eq!(tokens.verify(bad).unwrap_err().code, ErrorCode::Unauthorized, "{bad}");
            assert_eq!(tokens.verify_refresh(bad).unwrap_err().code, ErrorCode::Unauthorized, "{bad}");
        }
    }

    #[test]
    fn neither_token_is_good_for_what_the_other_is_for() {
        let tokens = tokens();
        let session = SessionId::new(UserId::new());
        let refresh = tokens.mint_refresh(&session, 7).unwrap();
        assert_eq!(tokens.verify_refresh(&refresh).unwrap(), Refresh { session: session.clone(), number: 7 });
        assert_eq!(tokens.verify(&refresh).unwrap_err().code, ErrorCode::Unauthorized);
        let access = tokens.mint(&session).unwrap();
        assert_eq!(tokens.verify_refresh(&access).unwrap_err().code, ErrorCode::Unauthorized);
        // One that names no use at all, and one without a number.
        let claims =
            serde_json::json!({ "sub": session.user, "sid": session.secret(), "iat": 1, "exp": u32::MAX });
        let plain = encode(&Header::new(Algorithm::HS256), &claims, &tokens.encoding).unwrap();
        assert_eq!(tokens.verify(&plain).unwrap_err().code, ErrorCode::Unauthorized);
        let unnumbered = tokens.sign(&session, REFRESH, 60, None).unwrap();
        assert_eq!(tokens.verify_refresh(&unnumbered).unwrap_err().code, ErrorCode::Unauthorized);
    }

    #[test]
    fn an_expired_token_says_so() {
        let tokens = tokens();
        let claims = Claims {
            sub: UserId::new(),
            sid: SessionId::new(UserId::new()).secret(),
            aud: ACCESS.into(),
            iat: 1,
            exp: get_current_timestamp() - 1,
            num: None,
        };
        let old = encode(&Header::new(Algorithm::HS256), &claims, &tokens.encoding).unwrap();
        assert_eq!(tokens.verify(&old).unwrap_err().code, ErrorCode::TokenExpired);
    }
}
