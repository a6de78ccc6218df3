//! ENCODE: makes the parity of a group, window by window, and has each parity image put where it
//! belongs.
//!
//! INVARIANT: ENCODE is answered only if each member was what its server vouched for, and each
//! parity image is on stable storage and was read back. Otherwise nothing that was made is in any
//! group.
//! Spec: docs/protocol/seal.md §3; docs/formats/group.md §6.

use bytes::Bytes;
use futures_util::future::join_all;
use layout::DataServerId;
use layout::ec::encode::EncodeError;
use layout::ec::{Draft, Encoded, Encoder, Window};
use layout::limits::WINDOW_BYTES_MAX;
use layout::reserve::Purpose;
use wire_nfs::control::Refusal;
use wire_nfs::control::groups::{EncodeGroup, EncodedGroup};

use super::outlet::{Outlet, OutletError};
use super::trouble::NoBytes;
use super::work::ImageWork;

impl ImageWork {
    /// Carries out ENCODE.
    ///
    /// # Errors
    /// INVALID for a group that cannot be; BUSY if it is not the time, or a server does not answer;
    /// NO_IMAGE if a member is not what it should be; NO_SPACE; IO if the disk failed.
    pub(crate) async fn encode_group(&self, ask: EncodeGroup) -> Result<EncodedGroup, Refusal> {
        let _turn = self.wait_for_call().await?;
        let draft = Draft::decode(&ask.draft).map_err(|_| Refusal::Invalid)?;
        let servers = |ids: &[u32]| ids.iter().map(|id| DataServerId(*id)).collect::<Vec<_>>();
        let (homes, parity) = (servers(&ask.homes), servers(&ask.parity));
        if homes.len() != draft.profile.data() || parity.len() != draft.profile.parity() {
            return Err(Refusal::Invalid);
        }
        let file_bytes = draft.parity_file_bytes();
        self.space.check_room(file_bytes, Purpose::Neutral)?;
        draft.parity.iter().for_each(|image| self.shelf().touch(*image));
        let mut outlets = Vec::with_capacity(parity.len());
        for (server, image) in parity.iter().zip(&draft.parity) {
            outlets.push(Outlet::begin(&self.site, *server, *image, file_bytes).await?);
        }
        let encoded = self.encode_windows(&draft, &homes, &mut outlets).await;
        let encoded = match encoded {
            Ok(encoded) => encoded,
            Err(refusal) => {
                join_all(outlets.into_iter().map(Outlet::abandon)).await;
                return Err(refusal);
            }
        };
        for ended in join_all(outlets.into_iter().map(Outlet::end)).await {
            ended?;
        }
        draft.parity.iter().for_each(|image| self.shelf().touch(*image));
        self.shelf().metrics.encoded_groups.inc();
        self.space.note_images();
        tracing::info!(group = %draft.group, profile = %draft.profile, "encoded");
        Ok(EncodedGroup { shape: encoded.shape.encode().into() })
    }

    /// Puts all of the parity images' files; the caller ends them.
    async fn encode_windows(
        &self,
        draft: &Draft,
        homes: &[DataServerId],
        outlets: &mut [Outlet],
    ) -> Result<Encoded, Refusal> {
        let mut encoder = Encoder::new(draft.clone(), WINDOW_BYTES_MAX).map_err(|_| Refusal::Invalid)?;
        let mut parity = vec![Vec::new(); outlets.len()];
        while let Some(window) = encoder.window() {
            let data = self.read_members(draft, homes, window).await?;
            assert_eq!(data.len(), draft.members.len(), "each member has its window");
            let data: Vec<&[u8]> = data.iter().map(|bytes| &bytes[..]).collect();
            parity.iter_mut().for_each(|bytes| bytes.resize(window.bytes, 0));
            let mut made: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
            encoder.push(&data, &mut made).map_err(|error| refuse(draft, &error))?;
            put_to_all(outlets, &parity).await?;
            self.space.pace_sealing(parity.iter().map(|bytes| bytes.len() as u64).sum()).await;
        }
        let encoded = encoder.finish().map_err(|error| refuse(draft, &error))?;
        if !encoded.footers.is_empty() {
            put_to_all(outlets, &encoded.footers).await?;
        }
        Ok(encoded)
    }

    /// The window of each member; nothing of an empty one.
    async fn read_members(
        &self,
        draft: &Draft,
        homes: &[DataServerId],
        window: Window,
    ) -> Result<Vec<Bytes>, Refusal> {
        let reads = draft.members.iter().zip(homes).map(async |(member, home)| match member {
            Some(member) => self.images.fetch_file(*home, member.image, window.of(member.bytes)).await,
            None => Ok(Bytes::new()),
        });
        let came: Result<Vec<Bytes>, NoBytes> = join_all(reads).await.into_iter().collect();
        came.map_err(|why| match why {
            NoBytes::Unreachable => Refusal::Busy,
            NoBytes::Absent => Refusal::NoImage,
        })
    }
}

async fn put_to_all(outlets: &mut [Outlet], bytes: &[Vec<u8>]) -> Result<(), OutletError> {
    assert_eq!(outlets.len(), bytes.len(), "each parity image gets its bytes");
    let puts = outlets.iter_mut().zip(bytes).map(|(outlet, bytes)| outlet.put(bytes));
    join_all(puts).await.into_iter().collect()
}

fn refuse(draft: &Draft, error: &EncodeError) -> Refusal {
    tracing::error!(group = %draft.group, %error, "a group cannot be encoded");
    match error {
        EncodeError::Altered { .. } => Refusal::NoImage,
        EncodeError::Group(_) | EncodeError::Window { .. } | EncodeError::Cover => Refusal::Invalid,
    }
}
