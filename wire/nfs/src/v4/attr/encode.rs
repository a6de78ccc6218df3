//! Writes attributes: what was asked for and is there, in ascending order.
//!
//! Spec: RFC 8881 §3.3.7, §18.7.3.

use wire_xdr::{Encode, Writer};

use super::{AttrValues, Fattr4, known::with_attrs, numbers};
use crate::{body::xdr_field, v4::Bitmap};

macro_rules! present_of {
    ($($number:ident $field:ident $(: $kind:ident($max:ident))?,)*) => {
        impl AttrValues {
            /// The attributes that are there.
            #[must_use]
            pub fn present(&self) -> Bitmap {
                let mut present = Bitmap::EMPTY;
                $(if self.$field.is_some() {
                    present.insert(numbers::$number);
                })*
                present
            }
        }
    };
}

macro_rules! encode_value_of {
    ($($number:ident $field:ident $(: $kind:ident($max:ident))?,)*) => {
        /// Writes the value of one attribute, if it is there.
        fn encode_value(number: u32, values: &AttrValues, w: &mut Writer) {
            match number {
                $(numbers::$number => {
                    if let Some(value) = &values.$field {
                        xdr_field!(write w value $($kind)?);
                    }
                })*
                _ => {}
            }
        }
    };
}

with_attrs!(present_of);
with_attrs!(encode_value_of);

/// Writes a `fattr4` with exactly the attributes that are both requested and present, and says
/// which they were.
pub fn encode_fattr4(requested: &Bitmap, values: &AttrValues, w: &mut Writer) -> Bitmap {
    let mask = requested.intersect(&values.present());
    mask.encode(w);
    let length = w.reserve_u32();
    let start = w.len();
    for number in mask.iter() {
        encode_value(number, values, w);
    }
    let body_bytes = u32::try_from(w.len() - start).expect("every value is bounded far below 4 GiB");
    assert!(body_bytes.is_multiple_of(4), "XDR values fill whole words");
    w.patch_u32(length, body_bytes);
    mask
}

impl Fattr4 {
    /// The wire form of all attributes that are there.
    #[must_use]
    pub fn from_values(values: &AttrValues) -> Self {
        let mask = values.present();
        let mut w = Writer::new();
        for number in mask.iter() {
            encode_value(number, values, &mut w);
        }
        Self { mask, mask_cut: false, body: w.into_bytes() }
    }
}

impl Encode for Fattr4 {
    fn encode(&self, w: &mut Writer) {
        self.mask.encode(w);
        w.opaque_bytes(self.body.clone());
    }
}
