// SPDX-License-Identifier: GPL-2.0

//! Which ioctls of a forwarded file are sent to its owner, and what their argument is: one table.
//!
//! An ioctl that is not known is refused (`ENOTTY`), since its argument may point to more than it says.

/// What an ioctl's argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A number, or nothing.
    Number,
    /// Memory of so many bytes.
    Memory {
        /// Bytes.
        size: u32,
        /// The ioctl reads it.
        read: bool,
        /// The ioctl writes it.
        written: bool,
    },
}

const fn gets(size: u32) -> Shape {
    Shape::Memory {
        size,
        read: false,
        written: true,
    }
}

const fn sets(size: u32) -> Shape {
    Shape::Memory {
        size,
        read: true,
        written: false,
    }
}

/// Bytes of `struct termios` and `struct termio`.
const TERMIOS: u32 = 36;
const TERMIO: u32 = 18;
const INT: u32 = 4;
const WINSIZE: u32 = 8;

/// The commands of terminals and pipes whose number does not tell the size. By number: `asm-generic/ioctls.h`.
const KNOWN: &[(u32, Shape)] = &[
    (0x5401, gets(TERMIOS)), // TCGETS
    (0x5402, sets(TERMIOS)), // TCSETS
    (0x5403, sets(TERMIOS)), // TCSETSW
    (0x5404, sets(TERMIOS)), // TCSETSF
    (0x5405, gets(TERMIO)),  // TCGETA
    (0x5406, sets(TERMIO)),  // TCSETA
    (0x5407, sets(TERMIO)),  // TCSETAW
    (0x5408, sets(TERMIO)),  // TCSETAF
    (0x5409, Shape::Number), // TCSBRK
    (0x540a, Shape::Number), // TCXONC
    (0x540b, Shape::Number), // TCFLSH
    (0x540c, Shape::Number), // TIOCEXCL
    (0x540d, Shape::Number), // TIOCNXCL
    (0x540e, Shape::Number), // TIOCSCTTY
    (0x540f, gets(INT)),     // TIOCGPGRP
    (0x5410, sets(INT)),     // TIOCSPGRP
    (0x5411, gets(INT)),     // TIOCOUTQ
    (0x5412, sets(1)),       // TIOCSTI
    (0x5413, gets(WINSIZE)), // TIOCGWINSZ
    (0x5414, sets(WINSIZE)), // TIOCSWINSZ
    (0x5415, gets(INT)),     // TIOCMGET
    (0x5416, sets(INT)),     // TIOCMBIS
    (0x5417, sets(INT)),     // TIOCMBIC
    (0x5418, sets(INT)),     // TIOCMSET
    (0x5419, gets(INT)),     // TIOCGSOFTCAR
    (0x541a, sets(INT)),     // TIOCSSOFTCAR
    (0x541b, gets(INT)),     // FIONREAD
    (0x5420, sets(INT)),     // TIOCPKT
    (0x5422, Shape::Number), // TIOCNOTTY
    (0x5423, sets(INT)),     // TIOCSETD
    (0x5424, gets(INT)),     // TIOCGETD
    (0x5425, Shape::Number), // TCSBRKP
    (0x5427, Shape::Number), // TIOCSBRK
    (0x5428, Shape::Number), // TIOCCBRK
    (0x5429, gets(INT)),     // TIOCGSID
];

/// The type byte of the commands of terminals.
const TERMINAL: u32 = 0x54;

/// What the argument of a command is, if the command is known.
pub fn shape(command: u32) -> Option<Shape> {
    if let Some(&(_, shape)) = KNOWN.iter().find(|&&(known, _)| known == command) {
        return Some(shape);
    }
    // The others of terminals say size and direction themselves (`_IOC`), and none of those holds a pointer.
    let size = (command >> 16) & 0x3fff;
    let read = command & (1 << 30) != 0;
    let written = command & (1 << 31) != 0;
    let own =
        (command >> 8) & 0xff == TERMINAL && size > 0 && size <= banyan_wire::file_ops::MAX_IOCTL;
    (own && (read || written)).then_some(Shape::Memory {
        size,
        read,
        written,
    })
}
