// SPDX-License-Identifier: GPL-2.0

//! The little-endian reader and writer below every message, and the macro that declares a message.
//!
//! A [`Reader`] or [`Writer`] lives for one message and is owned by the function that makes it. Both
//! only ever borrow the caller's bytes.

use core::marker::PhantomData;

/// Why bytes could not be decoded, or a value could not be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WireError {
    /// The input ended before the value did.
    Truncated,
    /// The output slice is too small.
    NoRoom,
    /// Bytes are left over behind a value that must fill its input.
    Trailing,
    /// The magic number is another one.
    BadMagic,
    /// A version that this build does not know.
    BadVersion,
    /// A length or a count is beyond its limit.
    TooLong,
    /// A field has a value that has no meaning.
    BadValue,
    /// A mandatory record of a type that this build does not know.
    UnknownMandatory,
    /// A message or a record at a place where it may not be.
    OutOfOrder,
}

impl WireError {
    /// Short words for a log line.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Truncated => "the input is too short",
            Self::NoRoom => "the buffer is too small",
            Self::Trailing => "bytes are left over",
            Self::BadMagic => "wrong magic number",
            Self::BadVersion => "unknown version",
            Self::TooLong => "a length is beyond its limit",
            Self::BadValue => "a field has a value without meaning",
            Self::UnknownMandatory => "unknown mandatory record",
            Self::OutOfOrder => "out of order",
        }
    }
}

/// Result of this crate's functions.
pub type Result<T, E = WireError> = core::result::Result<T, E>;

/// Reads values off the front of a byte slice.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Number of bytes not read yet.
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Takes the next `len` bytes.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`] if fewer are left; nothing is taken then.
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8]> {
        let (head, tail) = self
            .rest
            .split_at_checked(len)
            .ok_or(WireError::Truncated)?;
        self.rest = tail;
        Ok(head)
    }

    /// Takes the next `N` bytes as an array.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`] if fewer are left.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.bytes(N)?.try_into().map_err(|_| WireError::Truncated)
    }

    /// Takes everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.rest)
    }

    /// Takes one value.
    ///
    /// # Errors
    ///
    /// Those of the value's [`Wire::get`].
    pub fn get<T: Wire>(&mut self) -> Result<T> {
        T::get(self)
    }

    /// Takes a byte string preceded by its length as `u32`, refusing one longer than `max` bytes.
    ///
    /// # Errors
    ///
    /// [`WireError::TooLong`], [`WireError::Truncated`].
    pub fn blob(&mut self, max: usize) -> Result<&'a [u8]> {
        let len = self.get::<u32>()? as usize;
        if len > max {
            return Err(WireError::TooLong);
        }
        self.bytes(len)
    }

    /// Ends the reading.
    ///
    /// # Errors
    ///
    /// [`WireError::Trailing`] if bytes are left.
    pub const fn finish(self) -> Result<()> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(WireError::Trailing)
        }
    }
}

/// Writes values to the front of a byte slice.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl<'a> Writer<'a> {
    /// Starts at the first byte of `out`.
    pub fn new(out: &'a mut [u8]) -> Self {
        Self { out, at: 0 }
    }

    /// Number of bytes written so far.
    pub const fn len(&self) -> usize {
        self.at
    }

    /// Whether nothing was written yet.
    pub const fn is_empty(&self) -> bool {
        self.at == 0
    }

    /// Appends raw bytes.
    ///
    /// # Errors
    ///
    /// [`WireError::NoRoom`] if they do not fit; nothing is written then.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        let end = self.at.checked_add(bytes.len()).ok_or(WireError::NoRoom)?;
        let room = self.out.get_mut(self.at..end).ok_or(WireError::NoRoom)?;
        room.copy_from_slice(bytes);
        self.at = end;
        Ok(())
    }

    /// Appends one value.
    ///
    /// # Errors
    ///
    /// Those of the value's [`Wire::put`].
    pub fn put<T: Wire>(&mut self, value: &T) -> Result<()> {
        value.put(self)
    }

    /// Appends a byte string preceded by its length as `u32`; the partner of [`Reader::blob`].
    ///
    /// # Errors
    ///
    /// [`WireError::TooLong`] if it is longer than `max` bytes, [`WireError::NoRoom`].
    pub fn blob(&mut self, bytes: &[u8], max: usize) -> Result<()> {
        if bytes.len() > max {
            return Err(WireError::TooLong);
        }
        let len = u32::try_from(bytes.len()).map_err(|_| WireError::TooLong)?;
        self.put(&len)?;
        self.bytes(bytes)
    }
}

/// A value of fixed size on the wire.
pub trait Wire: Sized {
    /// Its size there, in bytes.
    const SIZE: usize;

    /// Appends it to `w`.
    ///
    /// # Errors
    ///
    /// [`WireError::NoRoom`].
    fn put(&self, w: &mut Writer<'_>) -> Result<()>;

    /// Takes it off `r`.
    ///
    /// # Errors
    ///
    /// [`WireError::Truncated`], [`WireError::BadValue`] and what the type's own checks say.
    fn get(r: &mut Reader<'_>) -> Result<Self>;

    /// Writes it to the front of `out` and returns its size.
    ///
    /// # Errors
    ///
    /// [`WireError::NoRoom`].
    fn encode(&self, out: &mut [u8]) -> Result<usize> {
        let mut w = Writer::new(out);
        self.put(&mut w)?;
        Ok(w.len())
    }

    /// Reads it from `bytes`, which it must fill.
    ///
    /// # Errors
    ///
    /// Those of [`Wire::get`], and [`WireError::Trailing`].
    fn decode(bytes: &[u8]) -> Result<Self> {
        let mut r = Reader::new(bytes);
        let value = Self::get(&mut r)?;
        r.finish()?;
        Ok(value)
    }
}

macro_rules! wire_int {
    ($($int:ty),*) => {$(
        impl Wire for $int {
            const SIZE: usize = core::mem::size_of::<$int>();

            fn put(&self, w: &mut Writer<'_>) -> Result<()> {
                w.bytes(&self.to_le_bytes())
            }

            fn get(r: &mut Reader<'_>) -> Result<Self> {
                Ok(<$int>::from_le_bytes(r.array()?))
            }
        }
    )*};
}

wire_int!(u8, u16, u32, u64, i32, i64);

impl<T: Wire + Copy + Default, const N: usize> Wire for [T; N] {
    const SIZE: usize = T::SIZE.saturating_mul(N);

    fn put(&self, w: &mut Writer<'_>) -> Result<()> {
        self.iter().try_for_each(|item| item.put(w))
    }

    fn get(r: &mut Reader<'_>) -> Result<Self> {
        let mut out = [T::default(); N];
        for item in &mut out {
            *item = T::get(r)?;
        }
        Ok(out)
    }
}

/// Declares structs whose wire form is their fields, in order, without gaps.
///
/// Each field's type must be [`Wire`]; the struct gets [`Wire`] too, so declarations nest.
#[macro_export]
macro_rules! wire_struct {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident {
            $($(#[$fmeta:meta])* pub $field:ident: $ty:ty,)*
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name {
            $($(#[$fmeta])* pub $field: $ty,)*
        }

        impl $crate::codec::Wire for $name {
            const SIZE: usize = 0usize $(.saturating_add(<$ty as $crate::codec::Wire>::SIZE))*;

            fn put(&self, w: &mut $crate::codec::Writer<'_>) -> $crate::codec::Result<()> {
                $($crate::codec::Wire::put(&self.$field, w)?;)*
                Ok(())
            }

            fn get(r: &mut $crate::codec::Reader<'_>) -> $crate::codec::Result<Self> {
                Ok(Self { $($field: $crate::codec::Wire::get(r)?,)* })
            }
        }
    )*};
}

/// Declares enums that travel as one integer. A number that the enum does not have is
/// [`BadValue`](crate::WireError::BadValue).
#[macro_export]
macro_rules! wire_enum {
    ($(
        $(#[$meta:meta])*
        pub enum $name:ident: $int:ty {
            $($(#[$vmeta:meta])* $variant:ident = $code:literal, $text:literal;)*
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $(#[doc = $text] $(#[$vmeta])* $variant,)*
        }

        impl $name {
            /// All values.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// Its number.
            pub const fn code(self) -> $int {
                match self {
                    $(Self::$variant => $code,)*
                }
            }

            /// The value with this number.
            pub const fn from_code(code: $int) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// A few words for people.
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }

        impl $crate::codec::Wire for $name {
            const SIZE: usize = <$int as $crate::codec::Wire>::SIZE;

            fn put(&self, w: &mut $crate::codec::Writer<'_>) -> $crate::codec::Result<()> {
                $crate::codec::Wire::put(&self.code(), w)
            }

            fn get(r: &mut $crate::codec::Reader<'_>) -> $crate::codec::Result<Self> {
                Self::from_code(<$int as $crate::codec::Wire>::get(r)?)
                    .ok_or($crate::codec::WireError::BadValue)
            }
        }
    )*};
}

/// Values of one type behind each other, still encoded: a count that was checked, and borrowed bytes.
///
/// Its iterator decodes one value at a time; a value that is no good is an `Err` there.
#[derive(Clone, Debug)]
pub struct Array<'a, T> {
    bytes: &'a [u8],
    values: PhantomData<fn() -> T>,
}

impl<'a, T: Wire> Array<'a, T> {
    /// Takes `count` values off `r`, refusing more than `max`.
    ///
    /// # Errors
    ///
    /// [`WireError::TooLong`], [`WireError::Truncated`].
    pub fn take(r: &mut Reader<'a>, count: usize, max: usize) -> Result<Self> {
        if count > max {
            return Err(WireError::TooLong);
        }
        let len = count.checked_mul(T::SIZE).ok_or(WireError::TooLong)?;
        Ok(Self {
            bytes: r.bytes(len)?,
            values: PhantomData,
        })
    }

    /// All of `bytes`, which must be whole values.
    ///
    /// # Errors
    ///
    /// [`WireError::Trailing`] if they are not.
    pub fn whole(bytes: &'a [u8]) -> Result<Self> {
        match bytes.len().checked_rem(T::SIZE) {
            Some(0) => Ok(Self {
                bytes,
                values: PhantomData,
            }),
            _ => Err(WireError::Trailing),
        }
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.bytes.len().checked_div(T::SIZE).unwrap_or(0)
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

impl<T: Wire> Iterator for Array<'_, T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        let (head, tail) = self.bytes.split_at_checked(T::SIZE)?;
        if head.is_empty() {
            return None;
        }
        self.bytes = tail;
        Some(T::decode(head))
    }
}

/// The text in a NUL-padded byte field: what stands before the first NUL, as far as it is UTF-8.
pub fn text_of(field: &[u8]) -> &str {
    let end = field.iter().position(|&b| b == 0).unwrap_or(field.len());
    let text = field.get(..end).unwrap_or(&[]);
    match core::str::from_utf8(text) {
        Ok(s) => s,
        Err(e) => {
            let good = text.get(..e.valid_up_to()).unwrap_or(&[]);
            core::str::from_utf8(good).unwrap_or("")
        }
    }
}

/// `text` as a NUL-padded field, cut so that at least one NUL stays behind it.
pub fn text_field<const N: usize>(text: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    let room = out.len().saturating_sub(1);
    for (to, from) in out.iter_mut().take(room).zip(text) {
        *to = *from;
    }
    out
}
