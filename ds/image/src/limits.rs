//! Named sizes and bounds of images.
//!
//! Spec: docs/formats/image.md.

/// Content bytes of a frame; the last one of an image may be shorter.
pub const FRAME_BYTES: usize = 1 << FRAME_BYTES_LOG2;

/// The same as a power of two, as the header says it.
pub const FRAME_BYTES_LOG2: u8 = 16;

/// Most content bytes of an image: those of an extent.
pub const CONTENT_BYTES_MAX: u32 = 64 << 20;

/// Most frames of an image.
pub const FRAMES_MAX: usize = CONTENT_BYTES_MAX as usize / FRAME_BYTES;

/// Bytes of the header.
pub const HEADER_BYTES: usize = 64;

/// Bytes of one entry of the index.
pub const ENTRY_BYTES: usize = 40;

/// Bytes of the footer.
pub const FOOTER_BYTES: usize = 64;

/// Most bytes of an index.
pub const INDEX_BYTES_MAX: usize = FRAMES_MAX * ENTRY_BYTES;

/// Bytes of the smallest image, which has no frame.
pub const IMAGE_BYTES_MIN: u64 = (HEADER_BYTES + FOOTER_BYTES) as u64;

/// Bytes of the largest image, of which no frame could be compressed.
pub const IMAGE_BYTES_MAX: u64 = IMAGE_BYTES_MIN + CONTENT_BYTES_MAX as u64 + INDEX_BYTES_MAX as u64;

/// Bytes of the largest file of a directory: a parity image of the longest members.
pub const FILE_BYTES_MAX: u64 = layout::limits::IMAGE_BYTES_MAX + layout::ec::footer::FOOTER_BYTES_MAX as u64;

/// A compressed frame has at most so many hundredths of its content's bytes; else it is stored raw.
pub const COMPRESSED_PERCENT_MAX: usize = 88;

/// Compression level of frames.
pub const ZSTD_LEVEL: i32 = 1;

/// Stored bytes that a writer gathers before it writes them.
pub const WRITE_BYTES: usize = 1 << 20;

/// A writer starts writeback each time this much was written.
pub const WRITEBACK_BYTES: u64 = 8 << 20;

/// Most bytes of one read, of content or raw.
pub const READ_BYTES_MAX: u32 = 4 << 20;

/// What opening reads at the end of the file at once: the footer, and the largest index.
pub const TAIL_READ_BYTES: usize = INDEX_BYTES_MAX + FOOTER_BYTES;

/// What verifying and repairing read at once, unless a single frame is larger.
pub const WALK_READ_BYTES: u64 = 1 << 20;

/// Raw bytes of an image under way to a receiver come in multiples of this.
pub const RAW_BLOCK_BYTES: u64 = 64 << 10;

/// Images in one directory.
pub const IMAGES_MAX: usize = 1 << 22;

/// Images of one directory that are being written, received or repaired at a time.
pub const DRAFTS_MAX: usize = 256;

/// Entries of one answer to a listing.
pub const LIST_MAX: usize = 512;

/// Files whose length is asked for at a time when a directory is opened.
pub const OPENINGS_MAX: usize = 16;

const _: () = assert!(CONTENT_BYTES_MAX as u64 == layout::EXTENT_BYTES, "the layout's extent");
const _: () = assert!(IMAGE_BYTES_MAX <= layout::limits::IMAGE_BYTES_MAX, "a group takes any image");
const _: () = assert!(IMAGE_BYTES_MAX <= FILE_BYTES_MAX, "a directory takes any image");
const _: () = assert!(FILE_BYTES_MAX / RAW_BLOCK_BYTES <= u16::MAX as u64, "block numbers fit 16 bits");
const _: () = assert!(RAW_BLOCK_BYTES == layout::limits::BLOCK_BYTES as u64, "a parity image's block");
const _: () = assert!(FRAMES_MAX <= u16::MAX as usize, "frame numbers fit 16 bits");
const _: () = assert!(IMAGE_BYTES_MAX <= u32::MAX as u64, "places in a file fit 32 bits");
const _: () = assert!(FRAME_BYTES <= READ_BYTES_MAX as usize, "a frame can be read at once");
