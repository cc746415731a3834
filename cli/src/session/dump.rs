//! The last frames of a program, in files (PRISEM services specification, 9.5).

use std::fs::{OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use polybus::frame::{Answer, Frame, Identity, ProtocolVersion, Received, Refusal};
use polybus::log::{Level, LogSink};
use polybus::{Service, ServiceRequest, async_trait};

/// Which of the two files.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    /// What was asked.
    Request,
    /// What was answered.
    Response,
}

/// Where the last frames go, and in which form.
#[derive(Clone, Debug)]
pub(crate) struct Dump {
    folder: PathBuf,
    program: String,
    whole: bool,
}

impl Dump {
    /// Files of `program` in `folder`; contents by size and digest unless `whole`.
    pub(crate) fn new(folder: &Path, program: &str, whole: bool) -> Self {
        Self { folder: folder.to_owned(), program: program.to_owned(), whole }
    }

    /// Writes a frame that came.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn received(&self, way: Way, frame: &Received) -> io::Result<()> {
        let name = match way {
            Way::Request => "lastrequest",
            Way::Response => "lastresponse",
        };
        let shown = if self.whole { frame.whole().clone().into() } else { frame.terse() };
        let path = self.folder.join(format!("{}-{name}.txt", self.program));
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let text = format!("{}\n", shown.pretty_sorted());
        write_private(&path, text.as_bytes()).map_err(named)
    }

    /// Writes a frame that goes out.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn sent(&self, way: Way, frame: &Frame) -> io::Result<()> {
        let body = frame.write(u64::MAX).map_err(invalid)?;
        self.received(way, &Received::read(&body.into(), u64::MAX).map_err(invalid)?)
    }
}

fn invalid(why: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    // The mode above counts for new files only.
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(content)
}

/// A service whose last frames are dumped.
pub(crate) struct Dumped {
    pub(crate) service: Box<dyn Service>,
    pub(crate) identity: Identity,
    pub(crate) protocol: ProtocolVersion,
    pub(crate) dump: Dump,
    pub(crate) log: Arc<dyn LogSink>,
}

#[async_trait]
impl Service for Dumped {
    fn name(&self) -> &str {
        self.service.name()
    }

    fn streams(&self) -> Option<&str> {
        self.service.streams()
    }

    async fn serve(&self, request: ServiceRequest) -> Result<Answer, Refusal> {
        self.tell(self.dump.received(Way::Request, &request.frame));
        let served = self.service.serve(request).await;
        let answer = served.as_ref().map_or_else(|refusal| refusal.answer(self.name()), Clone::clone);
        let frame = Frame::reply(self.name(), &answer, &self.identity).protocol(&self.protocol);
        self.tell(self.dump.sent(Way::Response, &frame));
        served
    }
}

impl Dumped {
    /// A dump is an aid; the work goes on without it.
    fn tell(&self, written: io::Result<()>) {
        if let Err(error) = written {
            self.log.log(Level::Warning, &format!("dump: {error}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polybus::frame::Appdata;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn dumped(whole: bool) -> (String, u32) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("anon_client-lastrequest.txt");
        std::fs::write(&path, "open to all").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let identity = Identity::new("anon_client", "example.org");
        let frame = Frame::request("anon", Appdata::new().bytes("data", "192.0.2.1\n"), &identity);
        Dump::new(folder.path(), "anon_client", whole).sent(Way::Request, &frame).unwrap();
        (std::fs::read_to_string(&path).unwrap(), mode(&path))
    }

    #[test]
    fn only_the_owner_can_read_a_dump_and_contents_are_digests() {
        let (text, mode) = dumped(false);
        assert_eq!(mode, 0o600);
        assert!(text.starts_with("{\n    \"appdata\": {\n        \"data\": \"<<16 bytes; SHA1: "), "{text}");
        assert!(!text.contains("MTkyLjAuMi4xCg=="));
    }

    #[test]
    fn a_whole_dump_is_the_frame() {
        let (text, _) = dumped(true);
        assert!(text.contains("\"data\": \"MTkyLjAuMi4xCg==\""), "{text}");
    }
}
