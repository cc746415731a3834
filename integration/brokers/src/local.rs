//! Brokers that are installed on this machine.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::kind::Product;
use crate::layout::Layout;
use crate::process::{Program, Programs};
use crate::{Error, Kind, port, rabbitmq};

/// Where packages put the server itself; what they put on `PATH` may be a wrapper that changes user and ignores signals.
const RABBITMQ_FOLDER: &str = "/usr/lib/rabbitmq/bin";

/// A program of this kind, or why there is none.
pub(crate) fn find(kind: Kind, named: Option<PathBuf>) -> Result<PathBuf, String> {
    let name = kind.product().program();
    let program = match named {
        Some(program) if program.is_file() => program,
        Some(program) => return Err(format!("there is no {}", program.display())),
        None => installed(kind.product()).ok_or_else(|| format!("no {name} was found on PATH"))?,
    };
    // Programs lie beside each other in a folder that has a version in its name: links must be followed.
    let program = fs::canonicalize(&program).map_err(|error| format!("{}: {error}", program.display()))?;
    let Some(version) = version_of(kind.product(), &program) else {
        return Err(format!("{} does not say its version", program.display()));
    };
    if !kind.accepts(&version) {
        return Err(format!("{} is version {version}", program.display()));
    }
    Ok(program)
}

fn installed(product: Product) -> Option<PathBuf> {
    let folder = (product == Product::RabbitMq).then(|| PathBuf::from(RABBITMQ_FOLDER));
    folder.into_iter().chain(path()).map(|folder| folder.join(product.program())).find(|file| file.is_file())
}

fn path() -> Vec<PathBuf> {
    // Servers are in folders that are not on everybody's path.
    let more = ["/usr/local/sbin", "/usr/sbin", "/usr/local/bin"].map(PathBuf::from);
    env::var_os("PATH").iter().flat_map(env::split_paths).chain(more).collect()
}

/// RabbitMQ's folder says it, `rabbitmq_server-3.10.8`, since its programs take seconds to; NATS says `v2.9.10` itself.
fn version_of(product: Product, program: &Path) -> Option<String> {
    match product {
        Product::RabbitMq => program.ancestors().find_map(|folder| {
            folder.file_name()?.to_str()?.strip_prefix("rabbitmq_server-").map(str::to_owned)
        }),
        Product::Nats => {
            let output = Command::new(program).arg("--version").output().ok()?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.split_whitespace().find_map(|word| word.strip_prefix('v')).map(str::to_owned)
        }
    }
}

/// The programs of a NATS server.
pub(crate) fn nats(program: PathBuf, layout: &Layout) -> Programs {
    let arguments = vec!["-c".to_owned(), format!("{}/{}", layout.folder, crate::nats::CONFIG)];
    let log = Path::new(&layout.folder).join("log");
    let server = Program { path: program, arguments, environment: Vec::new(), log };
    Programs { before: Vec::new(), server }
}

/// The programs of a RabbitMQ server. It needs a name server of Erlang, which would stay behind if the server started it:
/// a single server has one of its own, several have one in common.
pub(crate) fn rabbitmq(program: PathBuf, layout: &Layout) -> Result<Programs, Error> {
    let folder = Path::new(&layout.folder);
    write_cookie(folder, &layout.secret)?;
    let epmd = layout.member.as_ref().map_or_else(port::free, |member| Ok(member.epmd))?;
    let before = if layout.member.is_some() { Vec::new() } else { vec![name_server(epmd, folder)?] };
    let mut environment = rabbitmq::environment(layout);
    environment.extend(erlang(epmd));
    environment.extend(
        [
            ("HOME", layout.folder.clone()),
            ("RABBITMQ_LOG_BASE", layout.folder.clone()),
            ("RABBITMQ_PID_FILE", format!("{}/pid", layout.folder)),
            ("RABBITMQ_DIST_PORT", port::free()?.to_string()),
            ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}".to_owned()),
            ("ERL_CRASH_DUMP", format!("{}/erl_crash.dump", layout.folder)),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    let server = Program { path: program, arguments: Vec::new(), environment, log: folder.join("log") };
    Ok(Programs { before, server })
}

/// A name server of Erlang on this port.
pub(crate) fn name_server(port: u16, folder: &Path) -> Result<Program, Error> {
    Ok(Program {
        path: epmd_program()?,
        arguments: vec!["-port".to_owned(), port.to_string()],
        environment: erlang(port).to_vec(),
        log: folder.join("epmd.log"),
    })
}

fn erlang(epmd: u16) -> [(String, String); 2] {
    [("ERL_EPMD_PORT".to_owned(), epmd.to_string()), ("ERL_EPMD_ADDRESS".to_owned(), "127.0.0.1".to_owned())]
}

fn epmd_program() -> Result<PathBuf, Error> {
    let erlang = ["/usr/lib/erlang/bin", "/usr/local/lib/erlang/bin"].map(PathBuf::from);
    let found =
        path().into_iter().chain(erlang).map(|folder| folder.join("epmd")).find(|file| file.is_file());
    found.ok_or_else(|| {
        Error::Setting("RabbitMQ needs epmd of Erlang, which was not found on PATH".to_owned())
    })
}

/// Erlang reads it from the home folder and refuses one that others may read.
fn write_cookie(home: &Path, secret: &str) -> Result<(), Error> {
    let (file, failed) = (home.join(".erlang.cookie"), || Error::io("write the cookie of Erlang"));
    fs::write(&file, secret).map_err(failed())?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o400)).map_err(failed())
}
