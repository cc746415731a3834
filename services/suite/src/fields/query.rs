//! Canonical parameters and the query hash: equal questions have equal hashes, whoever asks and however the fields
//! were written (PRISEM services specification, 11.2).

use data_encoding::HEXLOWER;
use polybus::frame::{Json, Object, Refusal};
use sha2::{Digest, Sha256};

use super::services::{AnonFields, CifbulkFields, CrosscorFields, LmsearchFields, RwfindFields};

/// The field that tells who asks, not what.
const WHO: &str = "user";

/// The fields of one service's requests.
pub trait RequestFields: Sized {
    /// The service's short name.
    const SERVICE: &'static str;

    /// Reads the fields from the appdata of a request.
    ///
    /// # Errors
    ///
    /// `bad-field` with the first field at fault in the order of declaration; then, unless usage is asked for,
    /// `no-data` or `no-search` if there is nothing to work on.
    fn read(appdata: &Object) -> Result<Self, Refusal> {
        Self::read_beside(appdata, None)
    }

    /// The same where the content of the field `beside` came apart, and is empty here.
    ///
    /// # Errors
    ///
    /// As [`RequestFields::read`].
    fn read_beside(appdata: &Object, beside: Option<&str>) -> Result<Self, Refusal>;

    /// All fields with defaults filled in; contents as length and SHA-256.
    fn params(&self) -> Object;

    /// The query hash, 64 hexadecimal digits.
    fn query_sha256(&self) -> String {
        query_sha256(Self::SERVICE, &self.params())
    }
}

/// A request in its canonical form.
#[derive(Debug, Clone, PartialEq)]
pub struct Canonical {
    /// The parameters, as [`RequestFields::params`] gives them.
    pub params: Object,
    /// The query hash.
    pub query_sha256: String,
}

/// Reads a request of the service with this name; none if its fields are not declared here.
#[must_use]
pub fn canonical(service: &str, appdata: &Object) -> Option<Result<Canonical, Refusal>> {
    Some(match service {
        AnonFields::SERVICE => canonical_of::<AnonFields>(appdata),
        CrosscorFields::SERVICE => canonical_of::<CrosscorFields>(appdata),
        RwfindFields::SERVICE => canonical_of::<RwfindFields>(appdata),
        CifbulkFields::SERVICE => canonical_of::<CifbulkFields>(appdata),
        LmsearchFields::SERVICE => canonical_of::<LmsearchFields>(appdata),
        _ => return None,
    })
}

fn canonical_of<F: RequestFields>(appdata: &Object) -> Result<Canonical, Refusal> {
    let fields = F::read(appdata)?;
    Ok(Canonical { params: fields.params(), query_sha256: fields.query_sha256() })
}

/// A content in the canonical form: length and SHA-256.
pub(super) fn digest(content: &[u8]) -> Json {
    Object::new().with("len", content.len() as u64).with("sha256", sha256(content)).into()
}

fn query_sha256(service: &str, params: &Object) -> String {
    let question: Object =
        params.iter().filter(|(key, _)| *key != WHO).map(|(key, value)| (key, value.clone())).collect();
    let json: Json = Object::new().with("name", service).with("params", question).into();
    sha256(json.compact_sorted().as_bytes())
}

fn sha256(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}
