//! Groups of images that wait: drafted, encoded, and entered in the log, as a metadata server does.

use layout::DataServerId;
use layout::ec::{Draft, Group, GroupId, ImageId, ImageSum, Member, Profile, Shape};
use wire_nfs::control::groups::{EncodeGroup, EncodedGroup};
use wire_nfs::control::images::ShownImage;
use wire_nfs::control::{Procedure, Refusal};

use super::{Cluster, Log, id};

impl Cluster {
    /// The group of these waiting images, and where its images are to be.
    pub(crate) fn draft(
        &mut self,
        profile: Profile,
        images: &[ImageId],
        parity: &[u32],
    ) -> (Draft, Vec<u32>) {
        self.groups += 1;
        let mut log = self.log.lock().unwrap();
        let (mut members, mut homes) = (Vec::new(), Vec::new());
        for image in images {
            let (server, shown) = log.waiting[image];
            let (bytes, sum) = (u64::from(shown.file_bytes), ImageSum(shown.sum));
            members.push(Some(Member { image: *image, extent: id(shown.extent), bytes, sum }));
            homes.push(server);
        }
        members.resize(profile.data(), None);
        homes.resize(profile.data(), 0);
        let fresh = |number: &u32| {
            let mut image = [0xaa; 16];
            image[..8].copy_from_slice(&self.groups.to_be_bytes());
            image[8..12].copy_from_slice(&number.to_be_bytes());
            if profile.data() == 1 { images[0] } else { ImageId(image) }
        };
        let parity: Vec<ImageId> = parity.iter().map(fresh).collect();
        log.making.extend(images.iter().chain(&parity));
        (Draft { group: GroupId(self.groups), profile, codec: profile.codec(), members, parity }, homes)
    }

    /// Has the parity made.
    pub(crate) async fn encode(
        &self,
        draft: &Draft,
        homes: &[u32],
        parity: &[u32],
    ) -> Result<Shape, Refusal> {
        let ask =
            EncodeGroup { draft: draft.encode().into(), homes: homes.to_vec(), parity: parity.to_vec() };
        let encoded = self.control::<EncodedGroup>(parity[0], Procedure::Encode, &ask).await?;
        Ok(Shape::decode(&encoded.shape).unwrap())
    }

    /// Makes a group of images that wait.
    pub(crate) async fn group(&mut self, profile: Profile, images: &[ImageId], parity: &[u32]) -> u64 {
        let (draft, homes) = self.draft(profile, images, parity);
        let shape = self.encode(&draft, &homes, parity).await.unwrap();
        self.enter(shape, &homes, parity)
    }

    /// The entry of the log that makes a group.
    pub(crate) fn enter(&self, shape: Shape, homes: &[u32], parity: &[u32]) -> u64 {
        let mut log = self.log.lock().unwrap();
        let number = shape.group().0;
        for member in shape.members().iter().flatten() {
            let (_, shown) = log.waiting.remove(&member.image).unwrap();
            let record = log.extents.get_mut(&member.extent).unwrap();
            assert_eq!(record.epoch, shown.epoch, "the group would be refused");
            record.images.insert(shown.sequence, member.image);
        }
        let server = |id: &u32| (*id != 0).then_some(DataServerId(*id));
        let homes = homes.iter().chain(parity).map(server).collect();
        log.making.clear();
        log.groups.insert(number, Group::new(shape, homes).unwrap());
        number
    }

    /// Makes a group of each image that waits and may still be used.
    pub(crate) async fn group_what_waits(&mut self) {
        let may = |log: &Log, (server, shown): &(u32, ShownImage)| {
            let record = &log.extents[&id(shown.extent)];
            let newer = record.images.range(shown.sequence..).next().is_some();
            record.home == *server && record.epoch == shown.epoch && !newer
        };
        let waiting: Vec<ImageId> = {
            let mut log = self.log.lock().unwrap();
            let all = std::mem::take(&mut log.waiting);
            log.waiting = all.into_iter().filter(|(_, one)| may(&log, one)).collect();
            log.waiting.keys().copied().collect()
        };
        for image in waiting {
            let (draft, homes) = self.draft(Profile::TwoPlusOne, &[image], &[4]);
            let shape = self.encode(&draft, &homes, &[4]).await;
            let still = self.log.lock().unwrap().waiting.get(&image).copied();
            match (shape, still) {
                (Ok(shape), Some(one)) if may(&self.log.lock().unwrap(), &one) => {
                    self.enter(shape, &homes, &[4]);
                }
                _ => self.log.lock().unwrap().making.clear(),
            }
        }
    }
}
