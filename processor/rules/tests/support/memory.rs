//! The state in a sorted map.

use rules::{Damaged, Store};
use std::collections::BTreeMap;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory(pub BTreeMap<Vec<u8>, Vec<u8>>);

impl Store for Memory {
    type Error = Damaged;

    fn get(&mut self, key: &[u8], value: &mut Vec<u8>) -> Result<bool, Damaged> {
        let found = self.0.get(key);
        value.clear();
        value.extend(found.into_iter().flatten());
        Ok(found.is_some())
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Damaged> {
        self.0.insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Damaged> {
        self.0.remove(key);
        Ok(())
    }

    fn first_in(
        &mut self,
        from: &[u8],
        end: &[u8],
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
    ) -> Result<bool, Damaged> {
        let Some((k, v)) = self.0.range(from.to_vec()..end.to_vec()).next() else {
            return Ok(false);
        };
        (*key, *value) = (k.clone(), v.clone());
        Ok(true)
    }
}
