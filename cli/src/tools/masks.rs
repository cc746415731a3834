//! What stands in the place of matching identifiers (PRISEM services specification, 7.4, 7.8 and 7.9).

use std::path::PathBuf;

use clap::Args;
use polybus_ipgrep::{MaskOptions, Padding, Pfx, PfxMode, PfxScope};

use super::keys;
use crate::console::{Failure, Notices, Outcome};

/// Options about masks.
#[derive(Debug, Args)]
#[command(next_help_heading = "Masks")]
pub(super) struct MaskArguments {
    /// Pad masks with this text instead of `_`: printable signs without letters, digits, blanks and [ ] . : |
    #[arg(
        long,
        value_name = "TEXT",
        allow_hyphen_values = true,
        default_value = "_",
        hide_default_value = true
    )]
    method: Padding,
    /// Give all masks this width, 3 to 255, instead of that of the identifier.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(3..), requires = "anonymize")]
    mask_width: Option<u8>,
    /// Keyed stable pseudonyms instead of masks: the same identifier has the same one in every document made with
    /// the key. The file holds an even number of at least 32 hex digits, or raw bytes.
    #[arg(long, value_name = "KEYFILE", requires = "anonymize", conflicts_with = "mask_width")]
    pseudonyms: Option<PathBuf>,
    /// Encrypt addresses so that common prefixes stay common: ipcrypt-pfx or crypto-pan.
    #[arg(long, value_name = "CIPHER", requires_all = ["anonymize", "key"])]
    pfx: Option<PfxMode>,
    /// The key of --pfx: 64 hex digits, or 32 raw bytes.
    #[arg(long, value_name = "KEYFILE", requires = "pfx")]
    key: Option<PathBuf>,
    /// Which addresses --pfx encrypts: matching, or all, which needs no map.
    #[arg(long, value_name = "SCOPE", requires = "pfx", default_value = "matching")]
    scope: PfxScope,
}

impl MaskArguments {
    /// Whether every address is encrypted, so that no map is needed.
    pub(super) fn encrypt_all(&self) -> bool {
        self.pfx.is_some() && self.scope == PfxScope::All
    }

    /// Reads the keys.
    ///
    /// # Errors
    /// Exit 1 if a key file cannot be read, 78 if it holds no fitting key.
    pub(super) fn options(&self, notices: &Notices) -> Outcome<MaskOptions> {
        let key = |path: &PathBuf| keys::read(path, notices);
        let pfx = match (self.pfx, &self.key) {
            (Some(mode), Some(path)) => {
                let unfit = |error| Failure::configuration(format!("{}: {error}", path.display()));
                Some((Pfx::new(mode, &key(path)?).map_err(unfit)?, self.scope))
            }
            _ => None,
        };
        let pseudonyms = self.pseudonyms.as_ref().map(key).transpose()?;
        Ok(MaskOptions { padding: self.method.clone(), width: self.mask_width, pseudonyms, pfx })
    }
}
