//! Whether a key's file is for this process's user alone.
//!
//! The mode says so when it gives group and others nothing. Of a file with an access list, the group's bits are the
//! list's mask: systemd's `LoadCredential=` leaves the file root's, with a list that lets in the unit's user, and mode
//! 0440. Such a file is as private as one of mode 0400, so the list itself is looked at.

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt as _;

use rustix::fs::fgetxattr;
use rustix::process::geteuid;

/// What nobody but the owner of a key may do with its file.
const OTHERS: u32 = 0o077;
/// What those may do whom neither owner, group nor list names.
const EVERYBODY: u32 = 0o007;
const ROOT: u32 = 0;

/// The attribute that holds an access list, as Linux gives it out.
const ACCESS_LIST: &str = "system.posix_acl_access";
/// A list that is longer lets in somebody else for certain.
const MAXIMUM_LIST_BYTES: usize = 256;
const LIST_VERSION: [u8; 4] = 2_u32.to_le_bytes();
/// Whom an entry is about: the owner, a user, and how much all but the owner may have at most. The others are the
/// owning group, a group, and everybody else.
const OWNER: u16 = 0x01;
const USER: u16 = 0x02;
const MASK: u16 = 0x10;

/// Whether nobody but this process's user, and root, has access to a file.
pub(super) fn is_private(file: &File, about: &Metadata) -> bool {
    let (mode, me) = (about.mode(), geteuid().as_raw());
    if mode & OTHERS == 0 {
        return true;
    }
    // Another owner could read it, and let in whom he likes.
    if mode & EVERYBODY != 0 || ![me, ROOT].contains(&about.uid()) {
        return false;
    }
    let mut list = [0; MAXIMUM_LIST_BYTES];
    // Without a list these are the bits of the owning group.
    let length = fgetxattr(file, ACCESS_LIST, &mut list).unwrap_or_default();
    list.get(..length).is_some_and(|list| lets_in_only(list, me))
}

/// Whether an access list gives nothing to anybody but the file's owner and this user.
fn lets_in_only(list: &[u8], user: u32) -> bool {
    let Some(entries) = list.strip_prefix(&LIST_VERSION) else { return false };
    let (entries, rest) = entries.as_chunks::<8>();
    rest.is_empty()
        && entries.iter().all(|&[tag, tag_2, rights, rights_2, a, b, c, d]| {
            let (tag, rights) = (u16::from_le_bytes([tag, tag_2]), u16::from_le_bytes([rights, rights_2]));
            let whom = u32::from_le_bytes([a, b, c, d]);
            rights == 0 || matches!(tag, OWNER | MASK) || (tag == USER && whom == user)
        })
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use proptest::prelude::{any, prop, proptest};
    use rustix::fs::{XattrFlags, fsetxattr};

    use super::*;

    const GROUP_OWNING: u16 = 0x04;
    const GROUP: u16 = 0x08;
    const OTHER: u16 = 0x20;
    const NOBODY_NAMED: u32 = u32::MAX;
    const READ: u16 = 4;

    fn list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut list = LIST_VERSION.to_vec();
        for (tag, rights, whom) in entries {
            list.extend(tag.to_le_bytes().into_iter().chain(rights.to_le_bytes()).chain(whom.to_le_bytes()));
        }
        list
    }

    /// As systemd makes it for a unit of this user.
    fn of_a_unit(user: u32) -> [(u16, u16, u32); 5] {
        [
            (OWNER, READ, NOBODY_NAMED),
            (USER, READ, user),
            (GROUP_OWNING, 0, NOBODY_NAMED),
            (MASK, READ, NOBODY_NAMED),
            (OTHER, 0, NOBODY_NAMED),
        ]
    }

    #[test]
    fn a_list_that_lets_in_anybody_else_is_none_that_lets_in_this_user_alone() {
        let good = of_a_unit(7);
        assert!(lets_in_only(&list(&good), 7));
        assert!(!lets_in_only(&list(&good), 8), "another user");
        let with = |at: usize, entry| {
            let mut entries = good.to_vec();
            entries.insert(at, entry);
            list(&entries)
        };
        assert!(!lets_in_only(&with(2, (USER, READ, 8)), 7));
        assert!(lets_in_only(&with(2, (USER, 0, 8)), 7), "it is given nothing");
        assert!(!lets_in_only(&with(3, (GROUP, READ, 7)), 7), "a group has another number space");
        for at in [2, 4] {
            let mut entries = good;
            entries[at].1 = READ;
            assert!(!lets_in_only(&list(&entries), 7), "{:?}", entries[at]);
        }
        let bytes = list(&good);
        assert!(!lets_in_only(&bytes[..bytes.len() - 1], 7), "cut off");
        assert!(!lets_in_only(&[], 7), "there is none");
        assert!(!lets_in_only(&[[3, 0, 0, 0].as_slice(), &bytes[4..]].concat(), 7), "another version");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..80), user in any::<u32>()) {
            lets_in_only(&bytes, user);
            lets_in_only(&[LIST_VERSION.as_slice(), &bytes].concat(), user);
        }
    }

    #[test]
    fn a_file_that_a_list_gives_to_this_user_is_private_and_one_that_its_group_reads_is_not() {
        let file = tempfile::NamedTempFile::new().unwrap().into_file();
        let private = || is_private(&file, &file.metadata().unwrap());
        file.set_permissions(Permissions::from_mode(0o440)).unwrap();
        assert!(!private(), "the group's");
        let set = |entries: &[_]| fsetxattr(&file, ACCESS_LIST, &list(entries), XattrFlags::empty());
        let me = geteuid().as_raw();
        match set(&of_a_unit(me)) {
            Err(rustix::io::Errno::NOTSUP) => return,
            made => made.unwrap(),
        }
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o440);
        assert!(private());
        set(&of_a_unit(me + 1)).unwrap();
        assert!(!private());
        let mut long = of_a_unit(me).to_vec();
        for other in 0..40 {
            long.insert(2 + usize::try_from(other).unwrap(), (USER, 0, me + 1 + other));
        }
        set(&long).unwrap();
        assert!(!private(), "it is not read to its end");
    }
}
