//! The bus to be judged.

use std::fmt;
use std::sync::Arc;

use polybus_contract::{Checked, Result, Transport};

use crate::faults::{Fault, Faults};
use crate::times::Times;

type Open = Arc<dyn Fn() -> Arc<dyn Transport> + Send + Sync>;

/// Somebody with a wrong password.
#[derive(Clone)]
struct Stranger {
    password: Arc<str>,
    open: Open,
}

/// Handles that insist on TLS, by their URLs (K1s, K2s).
#[derive(Clone)]
pub struct Insisting {
    pub(crate) plain: Open,
    pub(crate) right: Open,
    pub(crate) wrong: Open,
}

impl Insisting {
    /// Handles for a listener without TLS, for one with a good certificate, and for one with a certificate of another host.
    ///
    /// # Errors
    /// As [`Subject::from_url`].
    pub fn by_urls(plain: &str, right: &str, wrong: &str) -> Result<Self> {
        let open = |url| by_url(url).map(|(_, open)| open);
        Ok(Self { plain: open(plain)?, right: open(right)?, wrong: open(wrong)? })
    }
}

impl fmt::Debug for Insisting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Insisting").finish_non_exhaustive()
    }
}

/// A bus to be judged: a way to make handles on it, what it declares of its times, and who can do it harm.
///
/// Every handle must be on the same bus instance: one handle sends, another one receives. A transport is judged as it
/// is used, behind the always-on checks ([`Checked`]).
#[derive(Clone)]
pub struct Subject {
    name: Arc<str>,
    open: Open,
    neighbour: Option<Open>,
    checked: bool,
    stranger: Option<Stranger>,
    insisting: Option<Insisting>,
    times: Times,
    faults: Option<Arc<dyn Faults>>,
    versions: Vec<(String, String)>,
}

impl Subject {
    /// A bus on which `open` makes handles, each a connection of its own. `open` does no I/O (I1).
    pub fn new(
        name: impl Into<Arc<str>>,
        open: impl Fn() -> Arc<dyn Transport> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            open: Arc::new(open),
            neighbour: None,
            checked: true,
            stranger: None,
            insisting: None,
            times: Times::default(),
            faults: None,
            versions: vec![("polybus-kit".to_owned(), env!("CARGO_PKG_VERSION").to_owned())],
        }
    }

    /// The bus that a URL names, as `polybus::connect` reads it. In this process, `embedded:` is a new bus each time:
    /// give it a name, `embedded:kit`.
    ///
    /// # Errors
    /// [`Kind::Configuration`](polybus_contract::Kind::Configuration) for a URL that is not understood.
    pub fn from_url(url: &str) -> Result<Self> {
        let (name, open) = by_url(url)?;
        Ok(Self::new(name, move || open()))
    }

    /// The same with these times.
    #[must_use]
    pub const fn with_times(mut self, times: Times) -> Self {
        self.times = times;
        self
    }

    /// The same with somebody who can do it harm.
    #[must_use]
    pub fn with_faults(mut self, faults: Arc<dyn Faults>) -> Self {
        self.faults = Some(faults);
        self
    }

    /// The same, with handles of another tenant of the same bus (other prefix, other virtual host), who may use the
    /// same names (B5).
    #[must_use]
    pub fn with_neighbour(mut self, open: impl Fn() -> Arc<dyn Transport> + Send + Sync + 'static) -> Self {
        self.neighbour = Some(Arc::new(open));
        self
    }

    /// As [`Subject::with_neighbour`], by its URL.
    ///
    /// # Errors
    /// As [`Subject::from_url`].
    pub fn with_neighbour_url(self, url: &str) -> Result<Self> {
        let (_, open) = by_url(url)?;
        Ok(self.with_neighbour(move || open()))
    }

    /// The same, with the version of something that the report should name: the broker, the client library.
    #[must_use]
    pub fn with_version(mut self, what: impl Into<String>, version: impl Into<String>) -> Self {
        self.versions.push((what.into(), version.into()));
        self
    }

    /// The same, with handles that know a wrong password (I2, K5s). Without this, no bus is asked about it.
    #[must_use]
    pub fn with_stranger(
        mut self,
        password: impl Into<Arc<str>>,
        open: impl Fn() -> Arc<dyn Transport> + Send + Sync + 'static,
    ) -> Self {
        self.stranger = Some(Stranger { password: password.into(), open: Arc::new(open) });
        self
    }

    /// The same, with handles that insist on TLS (K1s, K2s). Without this, no bus is asked about it.
    #[must_use]
    pub fn with_insisting(mut self, insisting: Insisting) -> Self {
        self.insisting = Some(insisting);
        self
    }

    /// The same, its handles used as they are: for a transport that brings its own checks.
    #[must_use]
    pub const fn unchecked(mut self) -> Self {
        self.checked = false;
        self
    }

    /// The same bus under another name, its handles made by `wrap` around these ones: how mutants are made (K6).
    #[must_use]
    pub fn wrapped(
        &self,
        name: impl Into<Arc<str>>,
        wrap: impl Fn(Arc<dyn Transport>) -> Arc<dyn Transport> + Send + Sync + 'static,
    ) -> Self {
        let wrap = Arc::new(wrap);
        let around = |open: &Open| -> Open {
            let (wrap, open) = (wrap.clone(), open.clone());
            Arc::new(move || wrap(open()))
        };
        let mut wrapped = Self { name: name.into(), open: around(&self.open), ..self.clone() };
        wrapped.neighbour = self.neighbour.as_ref().map(&around);
        if let Some(stranger) = &mut wrapped.stranger {
            stranger.open = around(&stranger.open);
        }
        if let Some(Insisting { plain, right, wrong }) = &mut wrapped.insisting {
            (*plain, *right, *wrong) = (around(plain), around(right), around(wrong));
        }
        wrapped
    }

    /// The same, with `wrap` around whoever can do it harm.
    pub(crate) fn with_harm(mut self, wrap: impl FnOnce(Arc<dyn Faults>) -> Arc<dyn Faults>) -> Self {
        self.faults = self.faults.map(wrap);
        self
    }

    /// What it is called in reports.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its times.
    #[must_use]
    pub const fn times(&self) -> &Times {
        &self.times
    }

    /// Versions to be named in the report.
    #[must_use]
    pub fn versions(&self) -> &[(String, String)] {
        &self.versions
    }

    /// A fresh handle, behind the always-on checks unless it brings its own; not connected.
    #[must_use]
    pub fn open(&self) -> Arc<dyn Transport> {
        self.judged((self.open)())
    }

    /// A fresh handle with a wrong password, and that password, if there are passwords.
    #[must_use]
    pub fn stranger(&self) -> Option<(Arc<dyn Transport>, &str)> {
        let stranger = self.stranger.as_ref()?;
        Some((self.judged((stranger.open)()), &stranger.password))
    }

    /// Fresh handles that insist on TLS: at a listener without it, at a good one, at one of another name.
    #[must_use]
    pub fn insisting(&self) -> Option<[Arc<dyn Transport>; 3]> {
        let Insisting { plain, right, wrong } = self.insisting.as_ref()?;
        Some([plain, right, wrong].map(|open| self.judged(open())))
    }

    /// A fresh handle of another tenant, if there is one.
    #[must_use]
    pub fn neighbour(&self) -> Option<Arc<dyn Transport>> {
        self.neighbour.as_ref().map(|open| self.judged(open()))
    }

    fn judged(&self, handle: Arc<dyn Transport>) -> Arc<dyn Transport> {
        if self.checked { Arc::new(Checked::new(handle)) } else { handle }
    }

    /// Who can do these things to it, if somebody can do all of them.
    #[must_use]
    pub fn faults(&self, wanted: &[Fault]) -> Option<&Arc<dyn Faults>> {
        self.faults.as_ref().filter(|faults| wanted.iter().all(|fault| faults.can(*fault)))
    }
}

/// The bus of a URL as reports name it, and how handles on it are made.
fn by_url(url: &str) -> Result<(Arc<str>, Open)> {
    let first = polybus::Bus::open(url)?;
    let (name, transport) = (first.url().into(), first.transport().clone());
    let url = url.to_owned();
    let open = move || match polybus::Bus::open(&url) {
        Ok(bus) => bus.transport().clone(),
        // It could be opened a moment ago; should it not be now, the cases meet the one that could.
        Err(_) => transport.clone(),
    };
    Ok((name, Arc::new(open)))
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject")
            .field("name", &self.name)
            .field("times", &self.times)
            .finish_non_exhaustive()
    }
}
