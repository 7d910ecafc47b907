//! Methods of a serializer that say that a value does not fit. Each serializer here takes a few kinds of
//! values and must answer for all of them.

/// The methods of the kinds that no column takes. `self.misfit(kind)` makes the error.
macro_rules! refuse_what_no_table_has {
    () => {
        type SerializeTupleStruct = serde::ser::Impossible<(), Self::Error>;
        type SerializeTupleVariant = serde::ser::Impossible<(), Self::Error>;
        type SerializeMap = serde::ser::Impossible<(), Self::Error>;
        type SerializeStructVariant = serde::ser::Impossible<(), Self::Error>;

        $crate::columns::refuse::refuse! {
            serialize_i8(i8), serialize_i16(i16), serialize_i32(i32), serialize_u8(u8),
            serialize_f32(f32), serialize_f64(f64), serialize_char(char), serialize_bytes(&[u8]),
        }

        fn serialize_unit(self) -> Result<(), Self::Error> {
            Err(self.misfit("unit"))
        }

        fn serialize_unit_struct(self, name: &'static str) -> Result<(), Self::Error> {
            Err(self.misfit(name))
        }

        fn serialize_unit_variant(
            self,
            name: &'static str,
            _: u32,
            _: &'static str,
        ) -> Result<(), Self::Error> {
            Err(self.misfit(name))
        }

        fn serialize_newtype_struct<T: ?Sized + serde::Serialize>(
            self,
            name: &'static str,
            _: &T,
        ) -> Result<(), Self::Error> {
            Err(self.misfit(name))
        }

        fn serialize_newtype_variant<T: ?Sized + serde::Serialize>(
            self,
            name: &'static str,
            _: u32,
            _: &'static str,
            _: &T,
        ) -> Result<(), Self::Error> {
            Err(self.misfit(name))
        }

        fn serialize_tuple_struct(
            self,
            name: &'static str,
            _: usize,
        ) -> Result<Self::SerializeTupleStruct, Self::Error> {
            Err(self.misfit(name))
        }

        fn serialize_tuple_variant(
            self,
            name: &'static str,
            _: u32,
            _: &'static str,
            _: usize,
        ) -> Result<Self::SerializeTupleVariant, Self::Error> {
            Err(self.misfit(name))
        }

        fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Self::Error> {
            Err(self.misfit("map"))
        }

        fn serialize_struct_variant(
            self,
            name: &'static str,
            _: u32,
            _: &'static str,
            _: usize,
        ) -> Result<Self::SerializeStructVariant, Self::Error> {
            Err(self.misfit(name))
        }
    };
}

/// Methods that take one value.
macro_rules! refuse {
    ($($method:ident($kind:ty)),* $(,)?) => {$(
        fn $method(self, _: $kind) -> Result<(), Self::Error> {
            Err(self.misfit(stringify!($kind)))
        }
    )*};
}

pub(super) use {refuse, refuse_what_no_table_has};
