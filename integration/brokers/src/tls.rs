//! Certificates of brokers of tests.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

use crate::Error;

/// How a broker uses TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tls {
    /// It has a certificate for `localhost` and 127.0.0.1.
    Server,
    /// It has a certificate for `other.example.org`, which is not where it is: clients must refuse it.
    WrongName,
    /// As [`Tls::Server`], and it demands a certificate from its clients.
    Mutual,
}

impl Tls {
    fn names(self) -> Vec<String> {
        match self {
            Self::WrongName => vec!["other.example.org".to_owned()],
            Self::Server | Self::Mutual => vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
        }
    }
}

/// The files of a broker with TLS, PEM, made for it alone. They go when the broker does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Certificates {
    /// The authority that signed all of them.
    pub ca: PathBuf,
    /// The server's certificate.
    pub server: PathBuf,
    /// Its key.
    pub server_key: PathBuf,
    /// A certificate for a client, `client`.
    pub client: PathBuf,
    /// Its key.
    pub client_key: PathBuf,
}

impl Certificates {
    pub(crate) fn at(folder: &Path) -> Self {
        Self {
            ca: folder.join("ca.pem"),
            server: folder.join("server.pem"),
            server_key: folder.join("server.key"),
            client: folder.join("client.pem"),
            client_key: folder.join("client.key"),
        }
    }

    /// Makes an authority and the two certificates that it signs.
    pub(crate) fn make(folder: &Path, tls: Tls) -> Result<Self, Error> {
        let files = Self::at(folder);
        let authority = authority().map_err(|error| refused(&error))?;
        write(&files.ca, &authority.pem())?;
        let pairs = [
            (&files.server, &files.server_key, tls.names(), ExtendedKeyUsagePurpose::ServerAuth),
            (
                &files.client,
                &files.client_key,
                vec!["client".to_owned()],
                ExtendedKeyUsagePurpose::ClientAuth,
            ),
        ];
        for (certificate, key, names, purpose) in pairs {
            let (signed, pair) = signed(&authority, &names, purpose).map_err(|error| refused(&error))?;
            write(certificate, &signed)?;
            write(key, &pair)?;
        }
        Ok(files)
    }
}

fn refused(error: &rcgen::Error) -> Error {
    Error::Setting(format!("no certificate can be made: {error}"))
}

fn write(file: &Path, text: &str) -> Result<(), Error> {
    fs::write(file, text).map_err(Error::io(format!("write {}", file.display())))
}

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(rcgen::DnType::CommonName, "authority of a test");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}

/// A certificate for these names and its key, as PEM.
fn signed(
    authority: &CertifiedIssuer<'static, KeyPair>,
    names: &[String],
    purpose: ExtendedKeyUsagePurpose,
) -> Result<(String, String), rcgen::Error> {
    let pair = KeyPair::generate()?;
    let mut params = CertificateParams::new(names.to_vec())?;
    params.distinguished_name.push(rcgen::DnType::CommonName, names.first().map_or("", String::as_str));
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![purpose];
    Ok((params.signed_by(&pair, authority)?.pem(), pair.serialize_pem()))
}
