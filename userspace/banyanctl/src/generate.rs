// SPDX-License-Identifier: GPL-2.0
//! Manual pages and shell completions, made from the command line's own description.
//!
//! Called once while packaging; nothing of it runs otherwise.

use std::{
    fs,
    path::Path, //
};

use anyhow::{Context, Result};
use clap::{Command, CommandFactory};
use clap_complete::{generate_to, Shell};
use clap_mangen::{
    roff::{bold, roman, Roff},
    Man, //
};

use crate::{cli::Arguments, config, failure::Status, sysfs};

/// Files and what they hold, for the main page.
const FILES: [(&str, &str); 5] = [
    (
        config::CONFIG_FILE,
        "Settings of this node, explained in the file itself.",
    ),
    (
        config::KEY_FILE,
        "Key of the cluster: 32 bytes or 64 hexadecimal digits, mode 0600, the same on every node.",
    ),
    (
        "/proc/cmdline",
        "Words banyan.NAME=VALUE of the kernel command line overrule the settings file.",
    ),
    (
        sysfs::DIRECTORY,
        "State and settings of the kernel module, for scripts.",
    ),
    (
        "/dev/banyan",
        "The device through which this program speaks to the kernel modules.",
    ),
];

/// A heading with a tagged list under it.
fn tagged(page: &mut Roff, heading: &str, items: &[(String, &str)]) {
    page.control("SH", [heading]);
    for (tag, text) in items {
        page.control("TP", []);
        page.text([bold(tag.as_str())]);
        page.text([roman(*text)]);
    }
}

/// The page of one command.
fn page(command: &Command, is_main: bool) -> Result<Vec<u8>> {
    let man = Man::new(command.clone())
        .title(command.get_name().to_uppercase())
        .manual("Banyan")
        .source(concat!("Banyan ", env!("CARGO_PKG_VERSION")));
    let mut bytes = Vec::new();
    if is_main {
        man.render_title(&mut bytes)?;
        man.render_name_section(&mut bytes)?;
        man.render_synopsis_section(&mut bytes)?;
        man.render_description_section(&mut bytes)?;
        man.render_options_section(&mut bytes)?;
        man.render_subcommands_section(&mut bytes)?;
    } else {
        man.render(&mut bytes)?;
    }
    let mut rest = Roff::new();
    if is_main {
        let statuses: Vec<(String, &str)> = Status::ALL
            .iter()
            .map(|(status, text)| ((*status as u8).to_string(), *text))
            .collect();
        rest.control("SH", ["NAMES"]);
        rest.text([roman(
            "A NODE is given by its id (1 to 127), by its name (whole, or up to the first dot), by its IPv4 address, or as \
             `self`, the node on which the command runs. A PID names the same process on every node; the upper bits of the pid \
             (pid / 32768) are the id of its home node.",
        )]);
        tagged(&mut rest, "EXIT STATUS", &statuses);
        tagged(
            &mut rest,
            "FILES",
            &FILES.map(|(name, text)| (name.to_owned(), text)),
        );
    } else {
        rest.control("SH", ["EXIT STATUS"]);
        rest.text([roman("See banyanctl(1).")]);
    }
    rest.control("SH", ["SEE ALSO"]);
    let others = if is_main {
        "modprobe(8), systemctl(1)"
    } else {
        "banyanctl(1)"
    };
    rest.text([roman(others)]);
    rest.to_writer(&mut bytes)?;
    Ok(bytes)
}

/// Writes everything under `directory`, in the layout of /usr/share.
///
/// # Errors
///
/// When a file cannot be written.
pub fn all(directory: &Path) -> Result<()> {
    let mut command = Arguments::command();
    command.build();
    let pages = directory.join("man/man1");
    fs::create_dir_all(&pages).with_context(|| format!("cannot make {}", pages.display()))?;
    let main = command.get_name().to_owned();
    fs::write(pages.join(format!("{main}.1")), page(&command, true)?)?;
    for sub in command
        .get_subcommands()
        .filter(|sub| !sub.is_hide_set() && sub.get_name() != "help")
    {
        let name = format!("{main}-{}", sub.get_name());
        let sub = sub
            .clone()
            .name(name.clone())
            .bin_name(format!("{main} {}", sub.get_name()));
        fs::write(pages.join(format!("{name}.1")), page(&sub, false)?)?;
    }
    for (shell, place, file) in [
        (Shell::Bash, "bash-completion/completions", "banyanctl"),
        (Shell::Zsh, "zsh/vendor-completions", "_banyanctl"),
        (Shell::Fish, "fish/vendor_completions.d", "banyanctl.fish"),
    ] {
        let place = directory.join(place);
        fs::create_dir_all(&place).with_context(|| format!("cannot make {}", place.display()))?;
        let made = generate_to(shell, &mut command, &main, &place)?;
        fs::rename(made, place.join(file))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_and_completions_are_made() {
        let directory =
            std::env::temp_dir().join(format!("banyanctl-generate-{}", std::process::id()));
        all(&directory).unwrap();
        let main = fs::read_to_string(directory.join("man/man1/banyanctl.1")).unwrap();
        assert!(main.contains("EXIT STATUS") && main.contains("/etc/banyan/key"));
        for file in [
            "man/man1/banyanctl-migrate.1",
            "bash-completion/completions/banyanctl",
            "zsh/vendor-completions/_banyanctl",
            "fish/vendor_completions.d/banyanctl.fish",
        ] {
            assert!(
                directory.join(file).metadata().unwrap().len() > 200,
                "{file}"
            );
        }
        assert!(!directory.join("man/man1/banyanctl-unload.1").exists());
        fs::remove_dir_all(directory).unwrap();
    }
}
