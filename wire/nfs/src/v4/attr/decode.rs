//! Reads attributes: what a client wants set or compared, and what a server answered.
//!
//! Spec: RFC 8881 §3.3.7, §5.6, §18.30.3.

use wire_xdr::{Decode, Reader, XdrError};

use super::{AttrValues, Fattr4, known::with_attrs, numbers};
use crate::{
    body::xdr_field,
    limits::{FATTR_BYTES_MAX, LAYOUT_TYPES_MAX, PRINCIPAL_BYTES_MAX},
    v4::{Bitmap, Nfsstat4},
};

/// Why attributes cannot be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AttrError {
    /// The body is not what the bitmap says. The sender's fault.
    #[error("attribute values: {0}")]
    Xdr(#[from] XdrError),
    /// The bitmap names an attribute that is not known here: `None` if its number is above all we
    /// could name.
    #[error("attribute {number:?} is not supported")]
    NotSupported {
        /// The first such attribute.
        number: Option<u32>,
    },
}

impl AttrError {
    /// What a server answers.
    #[must_use]
    pub fn status(&self) -> Nfsstat4 {
        match self {
            Self::Xdr(_) => Nfsstat4::Badxdr,
            Self::NotSupported { .. } => Nfsstat4::Attrnotsupp,
        }
    }
}

macro_rules! decode_value_of {
    ($($number:ident $field:ident $(: $kind:ident($max:ident))?,)*) => {
        /// Reads the value of one known attribute into its field.
        fn decode_value(number: u32, values: &mut AttrValues, r: &mut Reader) -> Result<(), XdrError> {
            match number {
                $(numbers::$number => values.$field = Some(xdr_field!(read r $($kind $max)?)),)*
                value => return Err(XdrError::BadDiscriminant { what: "attribute", value }),
            }
            Ok(())
        }
    };
}

with_attrs!(decode_value_of);

impl Fattr4 {
    /// The values.
    ///
    /// # Errors
    /// [`AttrError::NotSupported`] if an attribute is named that is not known here;
    /// [`AttrError::Xdr`] if the body does not hold exactly the values that the bitmap names.
    pub fn to_values(&self) -> Result<AttrValues, AttrError> {
        let unknown = self.mask.difference(&AttrValues::KNOWN).iter().next();
        if unknown.is_some() || self.mask_cut {
            return Err(AttrError::NotSupported { number: unknown });
        }
        let mut values = AttrValues::default();
        let mut r = Reader::new(self.body.clone());
        for number in self.mask.iter() {
            decode_value(number, &mut values, &mut r)?;
        }
        r.finish()?;
        Ok(values)
    }
}

impl Decode for Fattr4 {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        let (mask, mask_cut) = Bitmap::decode_reporting(r)?;
        Ok(Self { mask, mask_cut, body: r.opaque(FATTR_BYTES_MAX)? })
    }
}
