use litestream::wal::{Checksum, FrameHeader, FrameReader, FrameWriter, WalHeader};

/// The bytes of a log as they are, and once more with every checksum made right: else hardly any
/// that are made up would come by the first of them.
pub fn wal(data: &[u8]) {
    follow(data);
    follow(&repaired(data));
}

/// Reads as far as the log is valid. What was read is written again, and must be the same bytes.
fn follow(log: &[u8]) {
    let Some((head, rest)) = log.split_first_chunk::<{ WalHeader::SIZE }>() else { return };
    let Ok(header) = WalHeader::parse(head) else { return };
    assert_eq!(header.to_bytes(), *head);
    let mut page = vec![0; header.page_size.bytes()];
    let mut frames = FrameReader::new(rest, &header);
    let mut copy = FrameWriter::new(Vec::new(), &header).unwrap();
    while let Some(FrameHeader { page: number, commit, .. }) = frames.next_frame(&mut page).unwrap()
    {
        assert!(number > 0);
        copy.write_frame(number, commit, &page).unwrap();
    }
    assert_eq!(copy.checksum(), frames.checksum());
    let copy = copy.into_inner();
    assert_eq!(copy.len() as u64, header.page_size.wal_bytes(copy_frames(&copy, &header)));
    assert!(log.starts_with(&copy));
}

fn copy_frames(copy: &[u8], header: &WalHeader) -> u64 {
    (copy.len() - WalHeader::SIZE) as u64 / header.page_size.frame_bytes()
}

/// The same log with the checksums and salts that belong into it, as far as it can have some.
pub(super) fn repaired(log: &[u8]) -> Vec<u8> {
    let mut log = log.to_vec();
    let Some((head, rest)) = log.split_first_chunk_mut::<{ WalHeader::SIZE }>() else { return log };
    // Its last bit says which byte order the checksums have.
    let [.., order] = &mut head[..4] else { return log };
    let order = 0x82 | *order & 1;
    head[..8].copy_from_slice(&[0x37, 0x7f, 6, order, 0, 0x2d, 0xe2, 0x18]);
    let sized = head[8..12].iter().any(|byte| *byte != 0);
    if !sized {
        head[8..12].copy_from_slice(&512_u32.to_be_bytes());
    }
    let Some(header) = with_checksum(head) else { return log };
    let mut checksum = header.checksum;
    let size = header.page_size.bytes();
    for frame in rest.chunks_exact_mut(FrameHeader::SIZE + size) {
        let (head, page) = frame.split_at_mut(FrameHeader::SIZE);
        checksum = checksum.update(header.order, &head[..8]).update(header.order, page);
        head[8..16].copy_from_slice(&header.salt.0);
        head[16..].copy_from_slice(&checksum.to_bytes());
    }
    log
}

/// Makes the checksum of a header right. `None` if there is something else wrong with it.
fn with_checksum(head: &mut [u8; WalHeader::SIZE]) -> Option<WalHeader> {
    use litestream::wal::ByteOrder::{Big, Little};
    let order = if head[3] & 1 == 0 { Little } else { Big };
    let checksum = Checksum::default().update(order, &head[..24]);
    head[24..].copy_from_slice(&checksum.to_bytes());
    WalHeader::parse(head).ok()
}
