import { statfsSync } from 'node:fs';

/** File systems that another machine may write to: what that one does to a name is seen here only after a while. */
const SHARED = new Set([
  0x01_02_19_97, // 9p
  0x65_73_55_46, // fuse, virtiofs
  0x00_00_69_69, // nfs
  0x00_00_51_7b, // smb
  0xff_53_4d_42, // cifs
  0xfe_53_4d_42, // smb2
  0x78_6f_42_56, // vboxsf
  0x00_c3_64_00, // ceph
  0x0b_d0_0b_d0, // lustre
  0x01_16_19_70, // gfs2
  0x74_61_63_6f, // ocfs2
]);

/** Is a directory on such a file system, as far as the system tells? The numbers are those of Linux (statfs(2)). */
export function isShared(directory: string): boolean {
  return SHARED.has(statfsSync(directory).type);
}
