//! The options of the old programs, letter by letter (PRISEM services specification, 3.2, 6.2, 6.5 and 9.4).

use clap::ArgMatches;

use crate::options::Compat;
use crate::program::OLD_NAMES;

fn read(program: &str, words: &str) -> Result<ArgMatches, clap::Error> {
    let program = OLD_NAMES.iter().find(|known| known.name == program).unwrap();
    program.described().try_get_matches_from(std::iter::once(program.name).chain(words.split_whitespace()))
}

fn text<'a>(matches: &'a ArgMatches, id: &str) -> Option<&'a str> {
    matches.get_one::<String>(id).map(String::as_str)
}

/// What all clients and servers take.
const COMMON: [&str; 20] = [
    "-d --debug",
    "-v --verbose",
    "-u --usage",
    "-dvu",
    "-e rpc",
    "-q anon_test --queue-base=anon_dev -qanon_x",
    "--server mq.example.org:5673 --port 5672",
    "--server=[2001:db8::1]:5672",
    "--vhost / --user rpc_user",
    "--tls --tls-ca ca.pem --tls-cert c.pem --tls-key=k.pem",
    "--bus embedded:",
    "--log-exchange logs",
    "--protocol-version 0.5",
    "--max-bytes 1000",
    "--durable",
    "--dump /tmp --dump-full",
    "--compat gen0,short-site --compat receipt-time,server-lines",
    "--show-config",
    "--json-errors",
    "-m map.txt --map=map.txt",
];

#[test]
fn clients_and_servers_share_their_options() {
    for program in ["anon_client", "crosscor_client", "anon_server", "crosscor_server"] {
        for words in COMMON {
            read(program, words).unwrap_or_else(|error| panic!("{program} {words}: {error}"));
        }
    }
}

#[test]
fn clients_have_options_of_their_own() {
    for (program, words) in [
        ("anon_client", "-r report.txt -J -s --file=- --json --stats -srreport.txt"),
        ("anon_client", "--rpc-exchange rpc --timeout 0 --no-retry --require-server"),
        ("crosscor_client", "-r report.txt -m map.txt -I friend --iff=foe -s --stats -sIfoe"),
        ("crosscor_client", "--rpc-exchange rpc --timeout=1800.5 -v"),
        ("crosscor_client", "-n map.txt --networks map.txt"),
    ] {
        read(program, words).unwrap_or_else(|error| panic!("{program} {words}: {error}"));
    }
    let matches = read("anon_client", "-sJrreport.txt -mmap.txt").unwrap();
    assert!(matches.get_flag("stats") && matches.get_flag("json"));
    let file = matches.get_one::<std::path::PathBuf>("file").and_then(|path| path.to_str());
    assert_eq!(file, Some("report.txt"));
}

#[test]
fn servers_have_options_of_their_own() {
    for program in ["anon_server", "crosscor_server"] {
        let matches = read(
            program,
            "--exchange rpc --jobs 2 --max-attempts=3 --job-seconds 60 --drain-seconds 5 --dead-letter off \
             --require confirm,dead_letters",
        )
        .unwrap();
        assert_eq!((text(&matches, "jobs"), text(&matches, "dead_letter")), (Some("2"), Some("off")));
    }
}

#[test]
fn logmon_watches_and_sends() {
    for words in [
        "-l devops -m deployed",
        "-l devops -m host1 -s messages.txt",
        "-l devops --send -",
        "-l devops -s a.txt b.txt",
        "-s",
        "--send-message=x --send",
        "--log",
        "--log-exchange logs --log --display-utc --display-localtime --display-utc",
        "--logfile shown.log --server mq.example.org -duv",
        "--level warn --host ^h1 --program anon --grep x --json --max 3 --compat receipt-time",
    ] {
        read("logmon", words).unwrap_or_else(|error| panic!("{words}: {error}"));
    }
    let matches = read("logmon", "--display-utc --display-localtime").unwrap();
    assert!(matches.get_flag("display_localtime") && !matches.get_flag("display_utc"));
}

#[test]
fn what_is_not_in_the_tables_is_refused() {
    for (program, words) in [
        ("anon_client", "--compat old"),
        ("anon_client", "--compat gen0,"),
        ("anon_client", "-x"),
        ("anon_client", "--nonsense"),
        ("anon_client", "stray.txt"),
        ("anon_client", "-r"),
        ("anon_client", "--password x"),
        ("anon_client", "-I friend"),
        ("anon_client", "--dump-full"),
        ("crosscor_client", "-I neutral"),
        ("crosscor_client", "--iff"),
        ("crosscor_client", "-J"),
        ("crosscor_client", "stray.txt"),
        ("anon_server", "-r report.txt"),
        ("anon_server", "anon"),
        ("crosscor_server", "--require warp"),
        ("logmon", "stray.txt"),
        ("logmon", "--max 0"),
        ("logmon", "--level loud"),
    ] {
        assert!(read(program, words).is_err(), "{program} {words} was accepted");
    }
}

#[test]
fn repeated_options_count_as_given_last() {
    let matches = read("anon_client", "-q a --queue-base b").unwrap();
    assert_eq!(text(&matches, "queue_base"), Some("b"));
    let matches = read("anon_server", "--compat gen0 --compat short-site,server-lines").unwrap();
    assert_eq!(matches.get_many::<Compat>("compat").map(Iterator::count), Some(3), "words add up");
}

#[test]
fn every_option_is_explained_and_the_tables_are_sound() {
    for program in OLD_NAMES {
        let command = program.described();
        command.clone().debug_assert();
        for arg in command.get_arguments() {
            let explained = arg.get_help().or(arg.get_long_help()).is_some();
            assert!(explained || arg.is_hide_set(), "{} {}", program.name, arg.get_id());
        }
    }
    crate::program::root().debug_assert();
}
