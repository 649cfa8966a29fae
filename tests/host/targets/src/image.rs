// SPDX-License-Identifier: GPL-2.0

//! The image: each record by itself, and the stream as a target node reads it.

use crate::{choose, fixed};
use banyan_wire::{image, image_files, image_memory, image_state, Wire};

/// One record's payload.
pub fn records(bytes: &[u8]) {
    choose(
        bytes,
        &[
            fixed::<image_memory::Layout>,
            fixed::<image_memory::Area>,
            fixed::<image_memory::Extent>,
            fixed::<image_memory::SharedObject>,
            fixed::<image_memory::Window>,
            fixed::<image_memory::Settings>,
            fixed::<image_state::SignalActions>,
            fixed::<image_state::SignalState>,
            fixed::<image_state::PendingSignal>,
            fixed::<image_state::Restart>,
            fixed::<image_state::IntervalTimers>,
            fixed::<image_state::PosixTimer>,
            fixed::<image_state::Usage>,
            fixed::<image_state::Credentials>,
            fixed::<image_state::Identity>,
            fixed::<image_state::Limits>,
            fixed::<image_state::Scheduling>,
            fixed::<image_state::Userland>,
            fixed::<image_files::Descriptor>,
            fixed::<image_files::FileStat>,
            fixed::<image::ImageHeader>,
            fixed::<image::RecordHeader>,
            fixed::<image::End>,
            |b| payload(image_memory::LAYOUT, b),
            |b| payload(image_memory::AREA, b),
            |b| payload(image_memory::PAGES, b),
            |b| payload(image_memory::GENERAL, b),
            |b| payload(image_memory::SHARED_OBJECT, b),
            |b| payload(image_memory::WINDOW, b),
            |b| payload(image_memory::GUARDS, b),
            |b| payload(image_memory::SETTINGS, b),
            |b| payload(image_state::PENDING_SIGNAL, b),
            |b| payload(image_state::GROUPS, b),
            |b| payload(image_files::DESCRIPTION, b),
            |b| payload(image_files::WORKING_DIRECTORY, b),
            |b| payload(image_files::PROGRAM_FILE, b),
            |b| payload(image_memory::MAPPED_FILE, b),
            |b| payload(image_state::SIGNAL_ACTIONS, b),
        ],
    );
}

fn payload(rtype: u16, bytes: &[u8]) {
    decode(rtype, bytes);
}

/// Decodes a payload as the restoring side does; returns the number of pages that follow in the stream.
fn decode(rtype: u16, bytes: &[u8]) -> u64 {
    match rtype {
        image_memory::LAYOUT => {
            if let Ok(layout) = image_memory::Layout::decode(bytes) {
                let _ = layout.check();
            }
        }
        image_memory::AREA => {
            if let Ok(area) = image_memory::Area::decode(bytes) {
                if area.check().is_ok() {
                    assert!(area.start < area.end && area.end <= image_memory::ADDRESS_END);
                }
            }
        }
        image_memory::PAGES => {
            if let Ok(extents) = image_memory::Extents::parse(bytes) {
                let mut after = 0;
                let mut pages = 0;
                for extent in extents.iter() {
                    assert!(extent.pages > 0 && extent.start >= after);
                    after = extent.start + u64::from(extent.pages) * image_memory::PAGE_SIZE;
                    assert!(after <= image_memory::ADDRESS_END);
                    pages += u64::from(extent.pages);
                }
                assert!(pages <= image_memory::MAX_BATCH.into());
                return pages;
            }
        }
        image_memory::SHARED_OBJECT => {
            if let Ok((object, name)) = image_memory::SharedObject::decode_named(bytes) {
                let mut out = vec![0; bytes.len()];
                assert_eq!(object.encode_named(name, &mut out), Ok(bytes.len()));
                assert_eq!(out, bytes);
            }
        }
        image_memory::WINDOW => {
            if let Ok(window) = image_memory::Window::decode(bytes) {
                if window.check().is_ok() {
                    assert!(window.start + window.len <= image_memory::ADDRESS_END);
                }
            }
        }
        image_memory::GUARDS => {
            if let Ok(extents) = image_memory::Extents::parse_guards(bytes) {
                let mut after = 0;
                for extent in extents.iter() {
                    assert!(extent.pages > 0 && extent.start >= after);
                    after = extent.start + u64::from(extent.pages) * image_memory::PAGE_SIZE;
                    assert!(after <= image_memory::ADDRESS_END);
                }
            }
        }
        image_memory::SETTINGS => {
            if let Ok(settings) = image_memory::Settings::decode(bytes) {
                let _ = settings.check();
            }
        }
        image_memory::GENERAL => {
            if let Ok(words) = image_memory::decode_words::<27>(bytes) {
                let mut out = [0; 27 * 8];
                assert_eq!(image_memory::encode_words(&words, &mut out), Ok(out.len()));
                assert_eq!(out, bytes);
            }
        }
        image_state::PENDING_SIGNAL => {
            if let Ok(signal) = image_state::PendingSignal::parse(bytes) {
                assert!((1..=64).contains(&signal.signal));
            }
        }
        image_state::GROUPS | image_state::AFFINITY => {
            if let Ok(words) = image_state::decode_words(bytes) {
                let words: Vec<u32> = words.map(Result::unwrap).collect();
                let mut out = vec![0; bytes.len()];
                assert_eq!(image_state::encode_words(&words, &mut out), Ok(bytes.len()));
                assert_eq!(out, bytes);
            }
        }
        image_files::DESCRIPTION => {
            if let Ok((description, path)) = image_files::Description::decode(bytes) {
                let mut out = vec![0; bytes.len()];
                assert_eq!(description.encode(path, &mut out), Ok(bytes.len()));
                assert_eq!(out, bytes);
            }
        }
        image_files::WORKING_DIRECTORY => with_path::<image_files::Place>(bytes),
        image_memory::MAPPED_FILE => {
            if let Some((_, rest)) = bytes.split_first_chunk::<4>() {
                with_path::<image_files::FileIdentity>(rest);
            }
        }
        image_state::SIGNAL_ACTIONS => {
            if let Ok(actions) = image_state::decode_actions(bytes) {
                let whole = image_state::SignalActions::decode(bytes).unwrap();
                assert!(actions.map(Result::unwrap).eq(whole.actions));
            }
        }
        image_files::PROGRAM_FILE => with_path::<image_files::FileIdentity>(bytes),
        _ => {}
    }
    0
}

fn with_path<T: Wire>(bytes: &[u8]) {
    if let Ok((value, path)) = image_files::decode_with_path::<T>(bytes) {
        let mut out = vec![0; bytes.len()];
        assert_eq!(
            image_files::encode_with_path(&value, path, &mut out),
            Ok(bytes.len())
        );
        assert_eq!(out, bytes);
    }
}

/// A whole image, as it comes from a socket.
pub fn stream(bytes: &[u8]) {
    let mut rest = bytes;
    let mut take = |len: usize| -> Option<&[u8]> {
        let (head, tail) = rest.split_at_checked(len)?;
        rest = tail;
        Some(head)
    };
    let Some(Ok(_)) = take(image::ImageHeader::SIZE).map(image::ImageHeader::parse) else {
        return;
    };
    while let Some(header) = take(image::RecordHeader::SIZE) {
        let Ok(header) = image::RecordHeader::parse(header) else {
            return;
        };
        assert!(header.len <= image::MAX_RECORD);
        let Some(bytes) = take(header.len as usize) else {
            return;
        };
        if header.rtype == image::END {
            return;
        }
        let pages = decode(header.rtype, bytes);
        if take(pages as usize * 4096).is_none() {
            return;
        }
    }
}
