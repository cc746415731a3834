//! The container engine, and containers.

use std::future::Future;
use std::path::Path;
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

use futures_util::StreamExt;
use testcontainers::bollard::Docker;
use testcontainers::bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use testcontainers::bollard::query_parameters::KillContainerOptionsBuilder;
use testcontainers::core::client::docker_client_instance;
use testcontainers::core::{AccessMode, IntoContainerPort, Mount};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};
use tokio::runtime::{Builder, Runtime};

use crate::Error;

/// The label of every container of a test, by which those that a killed test left behind are found.
pub const LABEL: &str = "org.polybus.test";

fn refused<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> Error {
    move |error| Error::Engine { what, why: error.to_string() }
}

/// What talks to the engine has a runtime of its own: a broker may outlive the runtime of the test that started it, and
/// be dropped where there is none.
fn runtime() -> Result<&'static Runtime, Error> {
    static RUNTIME: OnceLock<Option<Runtime>> = OnceLock::new();
    RUNTIME
        .get_or_init(|| {
            let name = "polybus-brokers";
            Builder::new_multi_thread().worker_threads(1).thread_name(name).enable_all().build().ok()
        })
        .as_ref()
        .ok_or_else(|| Error::Engine {
            what: "be reached",
            why: "no thread for it can be started".to_owned(),
        })
}

async fn on_engine<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    runtime()?.spawn(work).await.map_err(refused("end its work"))?
}

async fn docker() -> Result<Docker, Error> {
    docker_client_instance().await.map_err(refused("be reached"))
}

/// The first of these images that the engine has, or the last one, which it then has to pull. An error if no engine
/// answers.
pub(crate) async fn image_at_hand(images: Vec<String>) -> Result<String, Error> {
    on_engine(async move {
        let docker = docker().await?;
        docker.ping().await.map_err(refused("be reached"))?;
        for image in &images {
            if docker.inspect_image(image).await.is_ok() {
                return Ok(image.clone());
            }
        }
        images.into_iter().last().ok_or_else(|| Error::Setting("no image was named".to_owned()))
    })
    .await
}

/// What a container is given.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) image: String,
    /// What to run instead of what the image says, if not empty.
    pub(crate) command: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    /// A folder of this machine, and where it is seen.
    pub(crate) folder: (String, String),
    /// Ports of this machine and of the container.
    pub(crate) ports: Vec<(u16, u16)>,
    /// A network of containers, and what this one is called in it.
    pub(crate) network: Option<(String, String)>,
}

impl Request {
    async fn start(self) -> Result<ContainerAsync<GenericImage>, Error> {
        let (name, tag) = self.image.rsplit_once(':').unwrap_or((self.image.as_str(), "latest"));
        let (folder, seen) = self.folder;
        let mount = Mount::bind_mount(folder, seen).with_access_mode(AccessMode::ReadOnly);
        let mut request = GenericImage::new(name, tag).with_label(LABEL, "broker").with_mount(mount);
        for (host, container) in self.ports {
            request = request.with_mapped_port(host, container.tcp());
        }
        for (name, value) in self.environment {
            request = request.with_env_var(name, value);
        }
        if let Some((network, host)) = self.network {
            request = request.with_network(network).with_container_name(&host).with_hostname(host);
        }
        if !self.command.is_empty() {
            request = request.with_cmd(self.command);
        }
        let request = request.with_host_config_modifier(|config| {
            let bindings = config.port_bindings.iter_mut().flat_map(|ports| ports.values_mut()).flatten();
            // Nobody but this machine.
            bindings.flatten().for_each(|binding| binding.host_ip = Some("127.0.0.1".to_owned()));
        });
        request.start().await.map_err(refused("start a container"))
    }
}

/// A container, removed with its data when this is dropped.
pub(crate) struct Container {
    // None only while it is being dropped.
    inner: Option<Arc<ContainerAsync<GenericImage>>>,
}

impl Container {
    pub(crate) async fn start(request: Request) -> Result<Self, Error> {
        let container = on_engine(request.start()).await?;
        Ok(Self { inner: Some(Arc::new(container)) })
    }

    async fn with<T, F>(&self, work: impl FnOnce(Arc<ContainerAsync<GenericImage>>) -> F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let inner = self.inner.clone();
        on_engine(work(inner.ok_or_else(|| Error::Setting("the container is gone".to_owned()))?)).await
    }

    pub(crate) async fn start_again(&self) -> Result<(), Error> {
        self.with(|it| async move { it.start().await.map_err(refused("start a container again")) }).await
    }

    pub(crate) async fn is_running(&self) -> bool {
        self.with(|it| async move { it.is_running().await.map_err(refused("look at a container")) })
            .await
            .unwrap_or(false)
    }

    /// An orderly stop, which becomes a kill after 30 s.
    pub(crate) async fn stop(&self) -> Result<(), Error> {
        self.with(
            |it| async move { it.stop_with_timeout(Some(30)).await.map_err(refused("stop a container")) },
        )
        .await
    }

    pub(crate) async fn kill(&self) -> Result<(), Error> {
        self.signal("SIGKILL").await?;
        // The engine answers when the signal is sent.
        while self.is_running().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    pub(crate) async fn hang_up(&self) -> Result<(), Error> {
        self.signal("SIGHUP").await
    }

    async fn signal(&self, signal: &'static str) -> Result<(), Error> {
        self.with(move |it| async move {
            let options = KillContainerOptionsBuilder::new().signal(signal).build();
            docker()
                .await?
                .kill_container(it.id(), Some(options))
                .await
                .map_err(refused("send a signal to a container"))
        })
        .await
    }

    /// Freezing a busy container may fail the first time.
    pub(crate) async fn pause(&self) -> Result<(), Error> {
        let mut tries = 0;
        loop {
            let paused =
                self.with(|it| async move { it.pause().await.map_err(refused("pause a container")) });
            match paused.await {
                Err(_) if tries < 10 => tries += 1,
                result => return result,
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub(crate) async fn resume(&self) -> Result<(), Error> {
        self.with(|it| async move { it.unpause().await.map_err(refused("resume a container")) }).await
    }

    pub(crate) async fn logs(&self) -> Result<String, Error> {
        self.with(|it| async move {
            let mut bytes = it.stdout_to_vec().await.map_err(refused("read a log"))?;
            bytes.extend(it.stderr_to_vec().await.map_err(refused("read a log"))?);
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        })
        .await
    }

    /// What a program in the container wrote, and how it ended.
    pub(crate) async fn run(&self, command: Vec<String>) -> Result<(String, bool), Error> {
        self.with(|it| async move {
            let docker = docker().await?;
            let failed = || refused("run a program in a container");
            let options = CreateExecOptions {
                cmd: Some(command),
                attach_stdout: Some(true),
                attach_stderr: Some(true),
                ..CreateExecOptions::default()
            };
            let id = docker.create_exec(it.id(), options).await.map_err(failed())?.id;
            let mut text = String::new();
            let started = docker.start_exec(&id, None::<StartExecOptions>).await.map_err(failed())?;
            if let StartExecResults::Attached { mut output, .. } = started {
                while let Some(piece) = output.next().await {
                    text.push_str(&piece.map_err(failed())?.to_string());
                }
            }
            let ended = docker.inspect_exec(&id).await.map_err(failed())?;
            Ok((text, ended.exit_code == Some(0)))
        })
        .await
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let (Some(inner), Ok(runtime)) = (self.inner.take(), runtime()) else { return };
        let (done, ended) = mpsc::channel();
        runtime.spawn(async move {
            // The container removes itself when it is dropped, which it must be on the runtime.
            drop(inner);
            let _ = done.send(());
        });
        let _ = ended.recv();
    }
}

impl std::fmt::Debug for Container {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let id = self.inner.as_ref().map(|inner| inner.id());
        f.debug_struct("Container").field("id", &id).finish_non_exhaustive()
    }
}

/// The folder as text, which it must be to be mounted.
pub(crate) fn path_text(path: &Path) -> Result<String, Error> {
    path.to_str().map(str::to_owned).ok_or_else(|| Error::Setting(format!("{} is no text", path.display())))
}
